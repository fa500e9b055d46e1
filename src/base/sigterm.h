/* SIGTERM, for a script that wants to end by itself when it is told to. */
#ifndef MB_SIGTERM_H
#define MB_SIGTERM_H

#include <stdbool.h>

/* From now on SIGTERM does not end the process, but is noted. */
void mb_sigterm_catch(void);

/* Whether it has come since then. */
bool mb_sigterm_has_come(void);

/*
 * Whether it has come since this was asked last: what has interrupted a system call may be that.
 */
bool mb_sigterm_take(void);

#endif
