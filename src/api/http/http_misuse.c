/* Names the line of a script that has made a mistake, where Lua itself cannot. Few connections need it. */
#include "api/http/http_misuse.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

/* Pushes where the function at index begins, "hello.lua:3: ", and what a message calls it. */
static void push_place(lua_State *L, int index) {
  lua_Debug about;
  lua_pushvalue(L, index);
  if (lua_isfunction(L, -1)) {
    lua_getinfo(L, ">S", &about);
    if (about.linedefined > 0 && strcmp(about.short_src, "?") != 0) { /* "?": one of ours */
      lua_pushfstring(L, "%s:%d: ", about.short_src, about.linedefined);
      lua_pushliteral(L, "the callback that begins here");
      return;
    }
  } else {
    lua_pop(L, 1);
  }
  lua_pushliteral(L, "");
  lua_pushliteral(L, "the callback");
}

/* misuse.place(callback): returns where a callback begins, "hello.lua:3: " or "", and what a message calls it. */
static int place(lua_State *L) {
  push_place(L, 1);
  return 2;
}

/*
 * misuse.fail(text, callback)
 * Throws the text, with the line where the caller was called. A tail call hides that line; then the text has
 * the line where the callback begins.
 */
static int fail(lua_State *L) {
  luaL_where(L, 2);
  if (*lua_tostring(L, -1) == '\0' && lua_isfunction(L, 2)) {
    push_place(L, 2);
    bool known = *lua_tostring(L, -2) != '\0';
    lua_pushfstring(L, known ? "%sfor %s: " : "", lua_tostring(L, -2), lua_tostring(L, -1));
  }
  lua_pushvalue(L, 1);
  lua_concat(L, 2);
  return lua_error(L);
}

/* Returns whether the value at index can be called. */
static bool is_callable(lua_State *L, int index) {
  if (lua_isfunction(L, index)) return true;
  if (luaL_getmetafield(L, index, "__call") == LUA_TNIL) return false;
  lua_pop(L, 1);
  return true;
}

/*
 * misuse.arguments(callback, options, module)
 * Returns the arguments of module.generate_handler, whose first one is no function, in their order. Throws
 * when none of them is a callback.
 */
static int arguments(lua_State *L) {
  const char *got = luaL_typename(L, 1);
  lua_settop(L, 3);
  if (is_callable(L, 1)) {
    lua_settop(L, 2);
    return 2;
  }
  if (lua_istable(L, 1) && !lua_rawequal(L, 1, 3) && is_callable(L, 2)) {
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 1);
    return 2;
  }
  luaL_where(L, 2);
  if (lua_rawequal(L, 1, 3)) {
    lua_pushliteral(L, "generate_handler: call it as http.generate_handler(...), with a dot");
  } else {
    lua_pushfstring(L, "generate_handler: expected a function (and a table of options), got %s",
                    got);
  }
  lua_concat(L, 2);
  return lua_error(L);
}

static const luaL_Reg functions[] = {
    {"arguments", arguments}, {"fail", fail}, {"place", place}, {NULL, NULL}};

int mb_http_misuse_open(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}
