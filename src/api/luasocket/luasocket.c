/*
 * The table of mb.luasocket. A connection needs little of it, so its rarer parts are loaded when they are
 * asked for.
 */
#include "api/luasocket/luasocket.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "api/luasocket/luasocket_except.h"
#include "api/luasocket/luasocket_select.h"
#include "api/luasocket/luasocket_tcp.h"
#include "base/fdio.h"
#include "base/rare.h"
#include "socket/standin.h"
#include "state/lazy_functions.h"

/* The most descriptors that a Linux process may have: select has no limit of its own. */
#define SET_SIZE 1048576

/* The largest datagram that socket.udp receives unless the script gives a size; as in the original. */
#define DATAGRAM_SIZE 8192

/* Bytes that source and sink move at a time; as in the original. */
#define BLOCK_SIZE 2048

static char module_key; /* its address is the key of the module in the registry */

/* socket.gettime(): returns seconds since 1970, with fractions. */
static int module_gettime(lua_State *L) {
  struct timeval now;
  gettimeofday(&now, NULL);
  lua_pushnumber(L, (lua_Number)now.tv_sec + (lua_Number)now.tv_usec / 1e6);
  return 1;
}

/* socket.sleep(seconds): sleeps; a signal does not cut it short. */
static int module_sleep(lua_State *L) {
  int64_t end = mb_standin_pause(L, mb_now_usec() + mb_usec_of(luaL_checknumber(L, 1)));
  struct timespec until = {.tv_sec = end / 1000000, .tv_nsec = end % 1000000 * 1000};
  while (MB_RARE(clock_nanosleep)(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) continue;
  mb_standin_paused(L);
  return 0;
}

/*
 * socket.install()
 * Makes require "socket" return this module from now on. For a program that runs with --style, the module is a
 * global variable, too, as the original was in Lua 5.1. Returns the module.
 */
static int module_install(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &module_key);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "socket");
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "socket.core");
  if (mb_standin_active()) {
    lua_pushvalue(L, -1);
    lua_setglobal(L, "socket");
  }
  return 1;
}

/* ---- numbers, and parts that are loaded when they are asked for ---- */

struct part {
  const char *name, *module;
  bool whole; /* the module's value is the field, not one of its fields */
};

static const struct part parts[] = {
    {"choose", "mb.luasocket.streams", false}, {"dns", "mb.luasocket.dns", true},
    {"sink", "mb.luasocket.streams", false},   {"sinkt", "mb.luasocket.streams", false},
    {"source", "mb.luasocket.streams", false}, {"sourcet", "mb.luasocket.streams", false},
    {"udp", "mb.luasocket.udp", false},        {"udp4", "mb.luasocket.udp", false},
    {"udp6", "mb.luasocket.udp", false},
};

static const struct {
  const char *name;
  lua_Integer value;
} numbers[] = {
    {"BLOCKSIZE", BLOCK_SIZE},
    {"_DATAGRAMSIZE", DATAGRAM_SIZE},
    {"_SETSIZE", SET_SIZE},
    {"_SOCKETINVALID", -1},
};

static void load(lua_State *L, const struct part *part) {
  lua_getglobal(L, "require");
  lua_pushstring(L, part->module);
  lua_call(L, 1, 1);
  if (!part->whole) lua_getfield(L, -1, part->name);
}

/* Pushes the field whose name is at index 2, and returns 1. Returns 0 when the module has no such field. */
static int push_other(lua_State *L) {
  const char *name = lua_tostring(L, 2);
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    if (strcmp(name, numbers[i].name) != 0) continue;
    lua_pushinteger(L, numbers[i].value);
    return 1;
  }
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    if (strcmp(name, parts[i].name) != 0) continue;
    load(L, &parts[i]);
    return 1;
  }
  if (strcmp(name, "_VERSION") != 0) return 0;
  lua_pushliteral(L, "LuaSocket 3.0.0"); /* the original's 3.1.0 says the same */
  return 1;
}

/* __pairs(socket): loads all fields. The upvalue is the __pairs that does so for the functions. */
static int module_pairs(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) lua_getfield(L, 1, numbers[i].name);
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) lua_getfield(L, 1, parts[i].name);
  lua_getfield(L, 1, "_VERSION");
  lua_settop(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, 1, 2);
  return 2;
}

/* ---- the table ---- */

static const luaL_Reg functions[] = {
    {"bind", mb_luasocket_bind},
    {"connect", mb_luasocket_connect},
    {"connect4", mb_luasocket_connect4},
    {"connect6", mb_luasocket_connect6},
    {"gettime", module_gettime},
    {"install", module_install},
    {"newtry", mb_luasocket_newtry},
    {"protect", mb_luasocket_protect},
    {"select", mb_luasocket_select},
    {"skip", mb_luasocket_skip},
    {"sleep", module_sleep},
    {"tcp", mb_luasocket_tcp},
    {"tcp4", mb_luasocket_tcp4},
    {"tcp6", mb_luasocket_tcp6},
    {"try", mb_luasocket_try},
    {"wrap", mb_luasocket_wrap},
    {NULL, NULL},
};

int mb_luasocket_open(lua_State *L) {
  lua_createtable(L, 0, 8); /* with room for the functions that a program calls */
  mb_lazy_functions_push(L, functions, push_other);
  lua_getfield(L, -1, "__pairs");
  lua_pushcclosure(L, module_pairs, 1);
  lua_setfield(L, -2, "__pairs");
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &module_key);
  return 1;
}
