/*
 * LuaSocket's exceptions: try throws a message in a table, and protect returns it as nil, message. Protect
 * lets any other error through.
 */
#include "api/luasocket/luasocket_except.h"

#include <lauxlib.h>
#include <stdbool.h>

/* Pushes the metatable that marks the tables that try throws; it is hidden from scripts. */
static void push_mark(lua_State *L) {
  static char key; /* its address is the key in the registry */
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_createtable(L, 0, 1);
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
}

/* Throws the message at index 2 in a marked table. */
static int throw(lua_State * L) {
  lua_settop(L, 2);
  lua_createtable(L, 1, 0);
  lua_pushvalue(L, 2);
  lua_rawseti(L, -2, 1);
  push_mark(L);
  lua_setmetatable(L, -2);
  return lua_error(L);
}

/* socket.try(...): returns its arguments; throws the second when the first is nil or false. */
int mb_luasocket_try(lua_State *L) { return lua_toboolean(L, 1) ? lua_gettop(L) : throw(L); }

/* Does the same, but calls the finalizer, its upvalue, before it throws. */
static int try_with_finalizer(lua_State *L) {
  if (lua_toboolean(L, 1)) return lua_gettop(L);
  lua_settop(L, 2);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_call(L, 0, 0);
  return throw(L);
}

/* socket.newtry([finalizer]): returns a function like try. */
int mb_luasocket_newtry(lua_State *L) {
  lua_settop(L, 1);
  if (lua_isnil(L, 1)) {
    lua_pushcfunction(L, mb_luasocket_try);
  } else {
    lua_pushcclosure(L, try_with_finalizer, 1);
  }
  return 1;
}

/* Returns the results of a protected function, or nil and the message that try has thrown in it. */
static int finish(lua_State *L, int status, lua_KContext ctx) {
  (void)ctx;
  if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L);
  if (lua_istable(L, -1) && lua_getmetatable(L, -1)) {
    push_mark(L);
    bool marked = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    if (marked) {
      lua_pushnil(L);
      lua_rawgeti(L, -2, 1);
      return 2;
    }
  }
  return lua_error(L);
}

/* Calls the function, its upvalue, which may yield. */
static int protected(lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  int status = lua_pcallk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, 0, finish);
  return finish(L, status, 0);
}

/* socket.protect(f): returns a function that calls f; when try throws in f, it returns nil, message. */
int mb_luasocket_protect(lua_State *L) {
  lua_settop(L, 1);
  lua_pushcclosure(L, protected, 1);
  return 1;
}

/* socket.skip(n, ...): returns the other arguments except the first n. */
int mb_luasocket_skip(lua_State *L) {
  lua_Integer n = luaL_checkinteger(L, 1);
  int rest = lua_gettop(L) - 1;
  if (n < 0) n = 0;
  return n < rest ? rest - (int)n : 0;
}
