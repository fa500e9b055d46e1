/* --record: writes what a connection receives to a file, for a replay. */
#ifndef MB_RECORD_H
#define MB_RECORD_H

#include <stddef.h>

/*
 * Creates the file, or empties it; it is for its owner only. %p in its name stands for the process
 * id, %t for the time in seconds, %% for %.
 * input  what is recorded: a file is not recorded onto itself
 * Returns a descriptor, or -errno: -ELOOP for a symbolic link, -EINVAL for what is no regular file.
 */
int mb_record_open(const char *name, int input);

/* Writes all bytes. Returns 0 or -errno. */
int mb_record_write(int fd, const void *data, size_t len);

#endif
