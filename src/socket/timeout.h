/* timeout(): lets the script set the alarm timer of the process. */
#ifndef MB_TIMEOUT_H
#define MB_TIMEOUT_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

#include "base/transport.h"

/* Registers the global function, and the type that its calls keep on the stack. May throw. */
void mb_timeout_open(lua_State *L);

/*
 * Replaces os.exit, so that it limits the finalizers, when the library os is one of those that were opened (a set of
 * bits, see state/libraries.h). May throw.
 */
void mb_timeout_limit_exit(lua_State *L, unsigned opened);

/*
 * Ends the whole process after this number of seconds from now; no timeout() of the script can extend
 * that. 0: no limit.
 */
void mb_timeout_limit(double seconds);

/*
 * Ends the process when the finalizers of a Lua state take more than 10 seconds from now; no timeout() in a
 * finalizer can extend that.
 * run  true before the state is closed, false when it is
 */
void mb_timeout_limit_finalizers(bool run);

/*
 * Ends the process when no byte came or went on the connection that is guarded for so many seconds; 0:
 * never. It is asked when the time may be over, so a byte costs nothing. What nobody can ask, such as a
 * Unix socket, may be silent. timeout() does not tell of it.
 */
void mb_timeout_silence(int seconds);

/*
 * Returns whether an alarm has come, and no time was up, since the last call: a wait that it has
 * interrupted goes on.
 */
bool mb_timeout_take_alarm(void);

/* The words for the log when time runs out. The caller keeps both texts as they are while the time runs. */
struct mb_timeout_label {
  const char *text;
  const char *about; /* follows the text; not terminated */
  size_t about_size;
};

/*
 * Calls a function as timeout(seconds, f, …) does. The stack is seconds, the function, and its arguments.
 * Returns like a lua_CFunction.
 */
int mb_timeout_call(lua_State *L, double seconds, struct mb_timeout_label label);

/*
 * Ends the limit of the call that runs now with this label: its text and what it is about lie at the same addresses. What
 * it was for goes on in another way, which has limits of its own.
 */
void mb_timeout_lift(const struct mb_timeout_label *label);

/* Disables the limits that the script has set. Called when a handler has returned. */
void mb_timeout_clear(void);

/*
 * Names the connection to reset when time runs out; NULL: none. The caller does not move it as long as it
 * is named.
 */
void mb_timeout_guard(const struct mb_channel *connection);

/*
 * Logs and ends the process as the alarm does when SIGXCPU comes: it has used the processor time that RLIMIT_CPU
 * allows. seconds  of processor time, for the log
 */
void mb_timeout_processor(int64_t seconds);

/*
 * Names a function to call when time runs out; NULL: none. It is called with "time is up", after the
 * connection was reset and before the process dies, and has to be async-signal-safe.
 */
void mb_timeout_at_end(void (*f)(const char *how));

/* Forgets everything, and disarms the timer. Called when a connection and its Lua state have ended. */
void mb_timeout_forget(void);

#endif
