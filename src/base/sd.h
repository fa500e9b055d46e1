/*
 * systemd's service manager and journal. libsystemd is loaded for the journal's stream only, when it is first needed:
 * linked, it would double the time to start.
 */
#ifndef MB_SD_H
#define MB_SD_H

#include <stdint.h>

/*
 * Opens a stream to the journal (sd_journal_stream_fd(3)), whose lines carry the identifier
 * "mb-handle" and may begin with <N>.
 * Returns the descriptor, or -errno: -ENOENT where no journal runs, -ENOSYS where libsystemd is not
 * installed, and in mb-handle-static, which loads nothing.
 */
int mb_sd_journal_stream(void);

/*
 * Tells the service manager a state (sd_notify(3)), by $NOTIFY_SOCKET, if there is one.
 * Returns 0, or -errno: -EAFNOSUPPORT where that is no Unix socket.
 */
int mb_sd_notify(const char *state);

/*
 * Returns how often the service manager wants "WATCHDOG=1" of this process (sd_watchdog_enabled(3)), in microseconds;
 * 0: it does not.
 */
uint64_t mb_sd_watchdog_usec(void);

#endif
