/* Runs intervals and main processes, which systemd's timers and services start. */
#include "app/task.h"

#include <string.h>

#include "app/listen.h"
#include "app/script.h"
#include "app/service.h"
#include "base/log.h"
#include "state/state.h"

/* Pushes the table that connect gets in place of a socket: {interval = name} or {main = name}. */
static int new_table(lua_State *L) {
  lua_createtable(L, 0, 1);
  lua_pushstring(L, lua_touserdata(L, 1));
  lua_setfield(L, -2, lua_touserdata(L, 2));
  return 1;
}

static enum mb_exit run_connect(lua_State *L, const struct mb_service *service, void *context) {
  const struct mb_listen_entry *l = context;
  bool goes_on; /* of no interest: another run has a process of its own */
  lua_pushcfunction(L, new_table);
  lua_pushlightuserdata(L, (void *)mb_listen_name(l));
  lua_pushlightuserdata(L, l->proto == MB_PROTO_INTERVAL ? "interval" : "main");
  int status = mb_state_call(L, 2, 1);
  if (status == LUA_OK) status = mb_service_connect(L, service, &goes_on);
  if (status == LUA_OK) return MB_EXIT_OK;
  mb_script_log_error(L);
  return MB_EXIT_HANDLER;
}

enum mb_exit mb_task_run_once(lua_State *L, const struct mb_options *options,
                              const struct mb_listen_entry *entry) {
  return mb_service_run(L, entry->service, options, run_connect, (void *)entry);
}

static enum mb_exit run(lua_State *L, const struct mb_script *script, void *context) {
  (void)context;
  const struct mb_options *o = script->options;
  bool interval = o->mode == MB_MODE_INTERVAL;
  const char *kind = interval ? "interval" : "main";
  const struct mb_listen_entry *found = NULL;
  for (const struct mb_listen_entry *l = mb_listen_first(L); l; l = l->next) {
    if (l->proto != (interval ? MB_PROTO_INTERVAL : MB_PROTO_MAIN)) continue;
    if (strcmp(mb_listen_name(l), o->mode_value) != 0) continue;
    if (found) {
      mb_log(LOG_ERR, "%s: two listeners are %s %s: give them names of their own", script->path,
             kind, o->mode_value);
      return MB_EXIT_CONFIG;
    }
    found = l;
  }
  if (found) return mb_task_run_once(L, o, found);
  mb_log(LOG_ERR, "%s: no %s %s: the script has: %s", script->path, kind, o->mode_value,
         mb_script_push_offer(L));
  lua_pop(L, 1);
  return MB_EXIT_CONFIG;
}

enum mb_exit mb_task_run(const struct mb_options *options) {
  return mb_script_run(options, NULL, run, NULL);
}
