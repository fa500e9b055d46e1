/* Finds the handle below an object. */
#include "socket/handle_over.h"

#include <lauxlib.h>

static const char mark; /* its address is the key in a metatable */

void mb_handle_over_mark(lua_State *L) {
  lua_pushboolean(L, 1);
  lua_rawsetp(L, -2, &mark);
}

struct mb_handle *mb_handle_below(lua_State *L, int index) {
  struct mb_handle *h = mb_handle_test(L, index);
  if (h || !lua_isuserdata(L, index) || !lua_getmetatable(L, index)) return h;
  bool marked = lua_rawgetp(L, -1, &mark) == LUA_TBOOLEAN;
  lua_pop(L, 2);
  return marked ? ((const struct mb_over_handle *)lua_touserdata(L, index))->handle : NULL;
}
