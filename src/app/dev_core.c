/* mb.dev.core: what the modules below mb.dev need of the program. */
#include "app/dev_core.h"

#include <lauxlib.h>

#include "api/http/http_idle.h"
#include "app/dev_files.h"
#include "state/state.h"

/* note(name): a file is looked for or loaded next. */
static int note(lua_State *L) {
  mb_dev_files_note(luaL_checkstring(L, 1));
  return 0;
}

static int next_file(lua_State *L) {
  lua_Integer n = lua_tointeger(L, lua_upvalueindex(1));
  const char *name = mb_dev_files_name((int)n);
  if (!name) return 0;
  lua_pushinteger(L, n + 1);
  lua_replace(L, lua_upvalueindex(1));
  lua_pushstring(L, name);
  return 1;
}

/* files(): returns an iterator over the names of the files that were noted. */
static int files(lua_State *L) {
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, next_file, 1);
  return 1;
}

/*
 * error_text(error[, text]): returns the text of an error that core.call has returned, or this one in its place, with
 * the traceback.
 */
static int error_text(lua_State *L) {
  lua_settop(L, 2);
  mb_state_push_error(L, 1, 2);
  return 1;
}

/* hand_over(socket): see http_idle.h. */
static int hand_over(lua_State *L) {
  lua_pushboolean(L, mb_http_hand_over(mb_handle_at(L, 1)));
  return 1;
}

int mb_dev_core_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"error_text", error_text},
      {"files", files},
      {"hand_over", hand_over},
      {"note", note},
      {NULL, NULL},
  };
  luaL_newlib(L, functions);
  return 1;
}
