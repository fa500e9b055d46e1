/*
 * Loads libsystemd when it is first needed. Linked, it would double the time to start.
 */
#ifndef MB_SD_H
#define MB_SD_H

#include <stdint.h>

/*
 * Opens a stream to the journal (sd_journal_stream_fd(3)), whose lines carry the identifier
 * "mb-handle" and may begin with <N>.
 * Returns the descriptor, or -errno: -ENOENT where no journal runs, -ENOSYS where libsystemd is not
 * installed.
 */
int mb_sd_journal_stream(void);

/*
 * Tells the service manager a state (sd_notify(3)).
 * Returns 0, or -errno: -ENOSYS where libsystemd is not installed.
 */
int mb_sd_notify(const char *state);

/* Returns how often the service manager wants "WATCHDOG=1" of this process, in microseconds; 0: it does not. */
uint64_t mb_sd_watchdog_usec(void);

#endif
