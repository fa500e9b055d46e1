/* The table of moonbridge_io, and its shortest functions. */
#include "api/io/io_module.h"

#include <lauxlib.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "api/io/io_child.h"
#include "api/io/io_connect.h"
#include "api/io/io_poll.h"
#include "base/fdio.h"
#include "base/rare.h"
#include "socket/listener_object.h"
#include "state/state.h"

/*
 * moonbridge_io.getpid()
 * Returns the process's number.
 */
static int io_getpid(lua_State *L) {
  lua_pushinteger(L, getpid());
  return 1;
}

/*
 * moonbridge_io.timeref([previous])
 * Returns the seconds, with fractions, that have passed since `previous`, an earlier result; without it,
 * since a fixed point in the past. The clock is monotonic.
 */
static int io_timeref(lua_State *L) {
  lua_Number previous = luaL_optnumber(L, 1, 0);
  lua_pushnumber(L, (lua_Number)mb_now_usec() / 1e6 - previous);
  return 1;
}

/*
 * moonbridge_io.script_path([name])
 * Returns the absolute path of a file beside the script; without a name, the path of the script as it was given. A
 * relative path begins in the working directory; it stays relative only where nobody knows the name of that.
 */
static int io_script_path(lua_State *L) {
  const char *script = mb_state_of(L)->script, *slash = strrchr(script, '/');
  if (lua_isnoneornil(L, 1)) {
    lua_pushstring(L, script);
    return 1;
  }
  size_t len;
  const char *name = luaL_checklstring(L, 1, &len);
  luaL_argcheck(L, len > 0 && strlen(name) == len, 1, "expected the name of a file");
  luaL_argcheck(L, name[0] != '/', 1,
                "expected a name that begins beside the script, not an absolute path");
  char here[PATH_MAX];
  bool is_known = script[0] != '/' && MB_RARE(getcwd)(here, sizeof here);
  lua_pushfstring(L, "%s%s", is_known ? here : "", is_known && here[1] ? "/" : "");
  lua_pushlstring(L, script, slash ? (size_t)(slash + 1 - script) : 0);
  lua_pushvalue(L, 1);
  lua_concat(L, 3);
  return 1;
}

/* A new function of the module needs a C function, a row here, a test, and an entry in moonbridge_io(3). */
static const luaL_Reg functions[] = {
    {"catch_sigterm", mb_io_catch_sigterm},
    {"exec", mb_io_exec},
    {"getpid", io_getpid},
    {"localconnect", mb_io_localconnect},
    {"localconnect_nb", mb_io_localconnect_nb},
    {"locallisten", mb_listener_object_locallisten},
    {"poll", mb_io_poll},
    {"script_path", io_script_path},
    {"tcpconnect", mb_io_tcpconnect},
    {"tcpconnect_nb", mb_io_tcpconnect_nb},
    {"tcplisten", mb_listener_object_tcplisten},
    {"timeref", io_timeref},
    {NULL, NULL},
};

void mb_io_open(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  luaL_newlib(L, functions);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "moonbridge_io");
  lua_setglobal(L, "moonbridge_io");
  lua_pop(L, 1);
}
