/* The Lua state. Must never end the process by itself but in a panic, which is a fault of ours. */
#include "state.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>
#include <unistd.h>

#include "exits.h"
#include "log.h"

/* Keys of the registry, by address. */
static char kept_error, kept_traceback;

static int panic(lua_State *L) {
  const char *message = lua_tostring(L, -1);
  mb_log(LOG_ERR, "error outside of any protection: %s", message ? message : "(no message)");
  _exit(MB_EXIT_HANDLER);
}

lua_State *mb_state_new(struct mb_alloc *alloc) {
  lua_State *L = lua_newstate(mb_alloc, alloc);
  if (!L) return NULL;
  lua_atpanic(L, panic);
  /* Until a script runs there is next to no garbage. */
  lua_gc(L, LUA_GCSTOP, 0);
  return L;
}

/*
 * A script's own modules stand beside it: services are started in "/", so "./?.lua" does not find
 * them.
 */
static void add_script_directory(lua_State *L, const char *script) {
  const char *slash = strrchr(script, '/');
  if (!slash) return;
  /* A name with package.path's own signs in it cannot be said in package.path. */
  size_t len = slash == script ? 1 : (size_t)(slash - script);
  if (memchr(script, ';', len) || memchr(script, '?', len)) return;
  lua_getglobal(L, "package");
  lua_pushlstring(L, script, len);
  lua_getfield(L, -2, "path");
  const char *directory = lua_tostring(L, -2);
  const char *path = lua_tostring(L, -1);
  lua_pushfstring(L, "%s/?.lua;%s/?/init.lua;%s", directory, directory, path ? path : "");
  lua_setfield(L, -4, "path");
  lua_pop(L, 3);
}

void mb_state_open(lua_State *L, const char *script) {
  luaL_openlibs(L);
  add_script_directory(L, script);
  lua_gc(L, LUA_GCRESTART, 0);
}

struct mb_alloc *mb_state_alloc(lua_State *L) {
  void *alloc;
  lua_getallocf(L, &alloc);
  return alloc;
}

/*
 * Message handler: the error as text with a traceback; a kept traceback of the same error goes
 * first.
 */
static int with_traceback(lua_State *L) {
  lua_settop(L, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_error);
  if (!lua_isnil(L, 2) && lua_rawequal(L, 1, 2)) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_traceback);
    return 1;
  }
  const char *message = luaL_tolstring(L, 1, NULL);
  luaL_traceback(L, L, message, 1);
  return 1;
}

int mb_state_call(lua_State *L, int nargs, int nresults) {
  int base = lua_gettop(L) - nargs;
  lua_pushcfunction(L, with_traceback);
  lua_insert(L, base);
  int status = lua_pcall(L, nargs, nresults, base);
  lua_remove(L, base);
  /*
   * Out of memory, or an error in an error's __tostring: Lua gives no traceback, and maybe no
   * string.
   */
  if (status != LUA_OK && lua_type(L, -1) != LUA_TSTRING) {
    lua_pop(L, 1);
    lua_pushliteral(L, "error while handling an error");
  }
  return status;
}

/* Message handler: leaves the error as it is. */
static int keep_traceback(lua_State *L) {
  lua_settop(L, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_error);
  if (lua_isnil(L, 2) || !lua_rawequal(L, 1, 2)) {
    const char *message = luaL_tolstring(L, 1, NULL);
    luaL_traceback(L, L, message, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &kept_traceback);
    lua_pushvalue(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &kept_error);
  }
  lua_settop(L, 1);
  return 1;
}

int mb_state_pcall_keep(lua_State *L, int nargs, int nresults, lua_KContext ctx, lua_KFunction k) {
  int base = lua_gettop(L) - nargs;
  lua_pushcfunction(L, keep_traceback);
  lua_insert(L, base);
  return lua_pcallk(L, nargs, nresults, base, ctx, k);
}
