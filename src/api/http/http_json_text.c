/* Functions of mb.http.core for JSON texts: what has to be looked at before a decoder gets them. */
#include "api/http/http_json_text.h"

#include <lauxlib.h>

#include "http/http_json.h"

/*
 * core.json_look(text, at)
 * Finds the next thing to look at, from the byte `at` on; the first byte has the number 1. Returns its kind,
 * "control", "wrong", "number", "name" or "string", its first and its last byte, and where to go on; or nothing.
 */
int mb_http_json_look(lua_State *L) {
  static const char *const kinds[] = {NULL, "control", "wrong", "number", "name", "string"};
  struct mb_span text, part = {NULL, 0};
  text.data = luaL_checklstring(L, 1, &text.size);
  lua_Integer first = luaL_checkinteger(L, 2);
  luaL_argcheck(L, first >= 1, 2, "expected the number of a byte");
  size_t at = (size_t)first - 1;
  enum mb_http_json_kind kind = mb_http_json_next(text, &at, &part);
  if (kind == MB_HTTP_JSON_NOTHING) return 0;
  lua_pushstring(L, kinds[kind]);
  lua_pushinteger(L, (lua_Integer)(part.data - text.data) + 1);
  lua_pushinteger(L, (lua_Integer)(part.data - text.data) + (lua_Integer)part.size);
  lua_pushinteger(L, (lua_Integer)at + 1);
  return 4;
}
