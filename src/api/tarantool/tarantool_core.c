/* The table of mb.tarantool.core. */
#include "api/tarantool/tarantool_core.h"

#include <lauxlib.h>
#include <time.h>

#include "api/tarantool/tarantool_address.h"
#include "api/tarantool/tarantool_errno.h"
#include "api/tarantool/tarantool_socket.h"
#include "base/fdio.h"
#include "base/log.h"
#include "state/state.h"
#include "state/error_text.h"

/* core.log(level, text): logs a text of one or more lines. level is a name that --log-level takes. */
static int log_text(lua_State *L) {
  static const char *const names[] = {"error", "warning", "notice", "info", "debug", NULL};
  static const int levels[] = {LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG};
  int level = levels[luaL_checkoption(L, 1, NULL, names)];
  size_t len;
  const char *text = luaL_checklstring(L, 2, &len);
  mb_log_script(level, text, len);
  return 0;
}

/* core.error_text(error): returns a text of a value that was thrown. */
static int error_text(lua_State *L) {
  luaL_checkany(L, 1);
  mb_error_text_push(L, 1);
  return 1;
}

/* core.time(): returns seconds since 1970, with fractions. */
static int real_time(lua_State *L) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  lua_pushnumber(L, (lua_Number)now.tv_sec + (lua_Number)now.tv_nsec / 1e9);
  return 1;
}

/* core.time64(): returns microseconds since 1970. */
static int real_time64(lua_State *L) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  lua_pushinteger(L, (lua_Integer)now.tv_sec * 1000000 + now.tv_nsec / 1000);
  return 1;
}

/* core.clock64(): returns monotonic microseconds. */
static int clock64(lua_State *L) {
  lua_pushinteger(L, mb_now_usec());
  return 1;
}

/* core.script(): returns the path of the script; or nil. */
static int script(lua_State *L) {
  lua_pushstring(L, mb_state_of(L)->script);
  return 1;
}

static const luaL_Reg functions[] = {
    {"clock64", clock64},
    {"errno", mb_tarantool_errno},
    {"errnos", mb_tarantool_errnos},
    {"error_text", error_text},
    {"getaddrinfo", mb_tarantool_getaddrinfo},
    {"log", log_text},
    {"script", script},
    {"socket", mb_tarantool_socket_new},
    {"strerror", mb_tarantool_strerror},
    {"time", real_time},
    {"time64", real_time64},
    {"wrap", mb_tarantool_socket_wrap},
    {NULL, NULL},
};

int mb_tarantool_core_open(lua_State *L) {
  mb_tarantool_socket_open(L);
  luaL_newlib(L, functions);
  /* The null of JSON, as other libraries have it: lua-cjson's is the same value. */
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
  return 1;
}
