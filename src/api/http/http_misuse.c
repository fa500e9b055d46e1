/* Names the line of a script that has made a mistake, where Lua itself cannot. Few connections need it. */
#include "api/http/http_misuse.h"

#include <lauxlib.h>
#include <stdbool.h>

/* Pushes where the function at index begins, "hello.lua:3: ", and what a message calls it. */
static void push_place(lua_State *L, int index) {
  lua_Debug about;
  lua_pushvalue(L, index);
  if (lua_isfunction(L, -1)) {
    lua_getinfo(L, ">S", &about);
    if (about.linedefined > 0) {
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

static const luaL_Reg functions[] = {{"fail", fail}, {"place", place}, {NULL, NULL}};

int mb_http_misuse_open(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}
