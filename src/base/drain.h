/*
 * Draining: a process that serves one connection after another is told to end when it is done with the one that it
 * serves. A process that serves a single connection is never told.
 */
#ifndef MB_DRAIN_H
#define MB_DRAIN_H

#include <stdbool.h>

/*
 * From now on this process may be told to drain: by SIGTERM, which no longer ends it, or by others.
 * fd     becomes readable, and stays so, when it is told; its other end closes with the process that would tell it
 * begun  not 0 when it is told; stays where it is
 */
void mb_drain_watch(int fd, const volatile unsigned char *begun);

/* Returns whether the process has been told. */
bool mb_drain_begun(void);

/* Returns a descriptor for poll(2) that is readable when the process has been told; -1 where nobody tells it. */
int mb_drain_fd(void);

#endif
