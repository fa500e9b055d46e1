/* mb.http_server.upgrade: has a file of its own, as only a handler that sends a 101 needs it. */
#include "api/http/http_server_upgrade.h"

#include <lauxlib.h>

#include "api/http/http_input.h"

/*
 * upgrade(input, protocols)
 * protocols: the value of Upgrade in a 101, or nil.
 * Returns why the 101 must not answer the request that the input has read last; nil: it may.
 */
static int upgrade(lua_State *L) {
  const struct mb_http_input *in = mb_http_input_at(L, 1);
  struct mb_span protocols = {NULL, 0};
  protocols.data = luaL_optlstring(L, 2, NULL, &protocols.size);
  lua_pushstring(L, mb_http_input_upgrade_wrong(in, protocols));
  return 1;
}

int mb_http_server_upgrade_open(lua_State *L) {
  lua_pushcfunction(L, upgrade);
  return 1;
}
