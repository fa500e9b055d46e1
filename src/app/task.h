/* --interval and --main: runs a handler that gets no connection. */
#ifndef MB_TASK_H
#define MB_TASK_H

#include "app/options.h"
#include "base/exits.h"

/*
 * Runs the handlers of the script's {proto = "interval"} or {proto = "main"} of this name, once:
 * connect gets a table with the field `interval` or `main`, the name, in place of a socket. Logs what
 * goes wrong.
 */
enum mb_exit mb_task_run(const struct mb_options *options);

#endif
