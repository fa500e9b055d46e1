/* SIGTERM, for a script that wants to end by itself when it is told to. */
#ifndef MB_SIGTERM_H
#define MB_SIGTERM_H

#include <stdbool.h>

/* Catches SIGTERM. From now on it does not end the process, but is noted. */
void mb_sigterm_catch(void);

/* Undoes mb_sigterm_catch: the next SIGTERM ends the process, unless it is held. The script has seen none. */
void mb_sigterm_forget(void);

/* From now on SIGTERM never ends this process. mb_sigterm_forget does not undo it. */
void mb_sigterm_hold(void);

/* Returns whether SIGTERM has come since mb_sigterm_hold. */
bool mb_sigterm_held(void);

/* Returns whether SIGTERM has come since mb_sigterm_catch; after mb_sigterm_hold, one that came before counts, too. */
bool mb_sigterm_has_come(void);

/*
 * Returns whether SIGTERM has come since the last call of this function, and so may be the signal that
 * has interrupted a system call.
 */
bool mb_sigterm_take(void);

#endif
