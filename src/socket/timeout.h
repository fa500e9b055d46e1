/* timeout(): the process's alarm timer, in the hands of the script. */
#ifndef MB_TIMEOUT_H
#define MB_TIMEOUT_H

#include <lua.h>
#include <stddef.h>

#include "base/fdio.h"

/* Registers the global function, and the signal's handler. May throw. */
void mb_timeout_open(lua_State *L);

/*
 * Limits the whole process to so many seconds from now; no timeout() of the script outlasts it. 0:
 * no limit.
 */
void mb_timeout_limit(double seconds);

/* What the log says when time runs out. Both stay as they are as long as the time runs. */
struct mb_timeout_label {
  const char *text;
  const char *about; /* what follows it; not terminated */
  size_t about_size;
};

/*
 * The stack is seconds, a function, and its arguments: calls the function as timeout(seconds, f, …)
 * does, and returns like a lua_CFunction.
 */
int mb_timeout_call(lua_State *L, double seconds, struct mb_timeout_label label);

/* Disables what the script has set: a handler has returned. */
void mb_timeout_clear(void);

/* The connection to reset when time runs out; -1: none any more. */
void mb_timeout_guard(int fd, enum mb_fd_kind kind);

#endif
