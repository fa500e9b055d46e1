/* A Lua state with socket objects, for the tests of this room. */
#ifndef TEST_LUA_STATE_H
#define TEST_LUA_STATE_H

#include <lauxlib.h>
#include <signal.h>

#include "../../lib/tap.h"
#include "socket/handle.h"
#include "state/libraries.h"
#include "state/state.h"

static int open_types(lua_State *L) {
  mb_handle_open(L);
  return 0;
}

/* Returns a state with the type of the socket objects; bails out when there is none. Writes fail with EPIPE. */
static inline lua_State *new_lua_state(struct mb_state *state) {
  signal(SIGPIPE, SIG_IGN);
  lua_State *L = mb_state_new(state);
  if (!L) tap_bail("no Lua state");
  mb_state_open(L, "test.lua");
  mb_libraries_open(L, MB_LIBRARIES_ALL);
  lua_pushcfunction(L, open_types);
  if (lua_pcall(L, 0, 0, 0) != LUA_OK) tap_bail(lua_tostring(L, -1));
  return L;
}

#endif
