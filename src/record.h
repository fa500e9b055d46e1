/* --record: writes what a connection receives to a file, for a replay. */
#ifndef MB_RECORD_H
#define MB_RECORD_H

#include <stddef.h>

/*
 * Creates the file; %p in its name stands for the process id, %t for the time in seconds, %% for %.
 * Returns a descriptor, or -1 after a line in the log: a recording that fails never disturbs the
 * connection.
 */
int mb_record_open(const char *name);

/* Writes all bytes. On failure logs a line, closes the descriptor and sets it to -1. */
void mb_record_write(int *fd, const void *data, size_t len);

#endif
