/* timeout(): the process's alarm timer, in the hands of the script. */
#ifndef MB_TIMEOUT_H
#define MB_TIMEOUT_H

#include <lua.h>
#include <stddef.h>

#include "base/transport.h"

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

/*
 * Names the connection to reset when time runs out. It stays where it is as long as it is named; NULL:
 * there is none any more.
 */
void mb_timeout_guard(const struct mb_channel *connection);

/*
 * Names a function to call when time has run out and the connection is reset, before the process dies:
 * with "time is up". It has to be async-signal-safe. NULL: none.
 */
void mb_timeout_at_end(void (*f)(const char *how));

/* Forgets everything, and disarms the timer: a connection and its Lua state have ended. */
void mb_timeout_forget(void);

#endif
