/* What the UDP objects, which are LuaSocket's own, need of us: ports as our TCP objects take them. */
#include "api/luasocket/luasocket_udp.h"

#include <lauxlib.h>
#include <string.h>

#include "api/luasocket/luasocket_address.h"
#include "api/luasocket/luasocket_object.h"

/*
 * In place of LuaSocket's method, in the same frame, so that its errors name what the script has called. Upvalues: the
 * method, which has none itself; the index of its argument that is a port.
 */
static int call_with_port(lua_State *L) {
  lua_CFunction method = lua_tocfunction(L, lua_upvalueindex(1));
  int at = (int)lua_tointeger(L, lua_upvalueindex(2));
  mb_luasocket_trim_port(L, at);
  const char *port = lua_isstring(L, at) ? lua_tostring(L, at) : "";
  if (mb_luasocket_is_out_of_range(port))
    return mb_luasocket_fail(L, mb_luasocket_no_port(L, port));
  int n = method(L);
  if (n != 2 || !lua_isnil(L, -2) || port[strspn(port, "0123456789")] == '\0') return n;
  return mb_luasocket_fail(L, lua_pushfstring(L, "%s: port \"%s\"", lua_tostring(L, -1), port));
}

/* port(method, index): returns the method of LuaSocket's with the argument at this index as a port. */
static int udp_port(lua_State *L) {
  luaL_argcheck(L, lua_iscfunction(L, 1), 1, "expected a C function");
  luaL_checkinteger(L, 2);
  lua_settop(L, 2);
  lua_pushcclosure(L, call_with_port, 2);
  return 1;
}

int mb_luasocket_udp_open(lua_State *L) {
  lua_pushcfunction(L, udp_port);
  return 1;
}
