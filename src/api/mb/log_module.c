/* The module mb.log. print() has one level only, as a client's text may be in what it prints. */
#include "api/mb/log_module.h"

#include <lauxlib.h>

#include "base/log.h"

static int log_text(lua_State *L, int level) {
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  mb_log_script(level, text, len);
  return 0;
}

/*
 * mb.log.error(text), warning(text), notice(text), info(text), debug(text)
 * Each writes a message of its level. The levels are those of --log-level.
 */
static int log_error(lua_State *L) { return log_text(L, LOG_ERR); }

static int log_warning(lua_State *L) { return log_text(L, LOG_WARNING); }

static int log_notice(lua_State *L) { return log_text(L, LOG_NOTICE); }

static int log_info(lua_State *L) { return log_text(L, LOG_INFO); }

static int log_debug(lua_State *L) { return log_text(L, LOG_DEBUG); }

int mb_log_module_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"debug", log_debug},   {"error", log_error},     {"info", log_info},
      {"notice", log_notice}, {"warning", log_warning}, {NULL, NULL},
  };
  luaL_newlib(L, functions);
  return 1;
}
