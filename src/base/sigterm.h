/* SIGTERM, for a script that wants to end by itself when it is told to. */
#ifndef MB_SIGTERM_H
#define MB_SIGTERM_H

#include <stdbool.h>

/* Catches SIGTERM. From now on it does not end the process, but is noted. */
void mb_sigterm_catch(void);

/* Undoes mb_sigterm_catch: the next SIGTERM ends the process. Forgets those that have come. */
void mb_sigterm_forget(void);

/* Returns whether SIGTERM has come since mb_sigterm_catch. */
bool mb_sigterm_has_come(void);

/*
 * Returns whether SIGTERM has come since the last call of this function, and so may be the signal that
 * has interrupted a system call.
 */
bool mb_sigterm_take(void);

#endif
