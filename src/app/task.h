/* --interval and --main: runs a handler that gets no connection. */
#ifndef MB_TASK_H
#define MB_TASK_H

#include <lua.h>

#include "app/listen.h"
#include "app/options.h"
#include "base/exits.h"

/*
 * Runs the handlers of the script's {proto = "interval"} or {proto = "main"} of this name, once:
 * connect gets a table with the field `interval` or `main`, the name, in place of a socket. Logs what
 * goes wrong.
 */
enum mb_exit mb_task_run(const struct mb_options *options);

/* Does the same for a listener of a script that is loaded. */
enum mb_exit mb_task_run_once(lua_State *L, const struct mb_options *options,
                              const struct mb_listen_entry *entry);

#endif
