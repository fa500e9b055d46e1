/* What the children of a pool share: the state is made ready before the first of them is. */
#include <lauxlib.h>

#include "app/pool.h"
#include "state/state.h"

/*
 * Loads what a handler of HTTP loads when a request is not there yet, and most come later than their connection:
 * each child would do it for itself.
 */
static void load_waiting(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "mb.http.wire") == LUA_TTABLE) lua_getfield(L, -1, "await_head");
}

int mb_pool_share(lua_State *L) {
  load_waiting(L);
  lua_settop(L, 0);
  return mb_state_settle(L);
}
