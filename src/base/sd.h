/*
 * Loads libsystemd when it is first needed. Linked, it would double the time to start.
 */
#ifndef MB_SD_H
#define MB_SD_H

/*
 * Opens a stream to the journal (sd_journal_stream_fd(3)), whose lines carry the identifier
 * "mb-handle" and may begin with <N>.
 * Returns the descriptor, or -errno: -ENOENT where no journal runs, -ENOSYS where libsystemd is not
 * installed.
 */
int mb_sd_journal_stream(void);

#endif
