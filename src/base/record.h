/* --record: writes the bytes that a connection receives to a file, for a replay. */
#ifndef MB_RECORD_H
#define MB_RECORD_H

#include <stddef.h>

/*
 * Creates the file, or empties it; only its owner may access it. %p in its name stands for the
 * process id, %t for the time in seconds, %% for %.
 * number  of the connection among those of this process, from 1 on: above 1 it follows the process id, "1234.2", so
 *         that no recording overwrites another one of the same process
 * input  the descriptor to be recorded: a file cannot be recorded onto itself (-EINVAL)
 * Returns a descriptor, or -errno: -ELOOP for a symbolic link, -EINVAL when it is no regular file, -EPERM
 * when it belongs to another user, or has another name, too.
 */
int mb_record_open(const char *name, unsigned number, int input);

/* Writes all bytes. Returns 0 or -errno. */
int mb_record_write(int fd, const void *data, size_t len);

#endif
