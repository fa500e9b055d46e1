/*
 * Descriptors 0, 1 and 2: the connection is moved off them, so that nothing a script or a library
 * prints can reach the client.
 */
#ifndef MB_STDFDS_H
#define MB_STDFDS_H

#include <stdbool.h>

#include "base/activation.h"

/*
 * The descriptors of the connection (in and out are the same then), or of a replay's input and output.
 * They are above 2 and have close-on-exec.
 */
struct mb_stdfds {
  int in, out;
};

/*
 * Opens /dev/null on those of 0, 1, 2 that are closed, moves fd 2 off the connection (to syslog's
 * socket, or else a journal stream, or else /dev/null), and sets the log's target. main calls it
 * before anything else.
 *
 * ret_closed  the descriptors that were closed: bit 0 for fd 0, and so on
 * Returns 0 or -errno.
 */
int mb_stdfds_prepare(unsigned *ret_closed);

/*
 * Returns whether descriptor 1 is for output of our own: it was open, and is neither the connection (or the
 * listening socket) that we were given, nor the output of a replay. Has to be called before mb_stdfds_take.
 * activation  NULL: we were given nothing
 * closed      as mb_stdfds_prepare has returned it
 */
bool mb_stdfds_has_stdout(const struct mb_activation *activation, unsigned closed);

/*
 * Takes over the descriptors that we were given. If they stood on 0, it becomes /dev/null; 1 becomes a
 * copy of 2 (the log). What is printed goes there by the rules of the log (log_printed.h).
 * Returns 0, or -errno with ret untouched.
 */
int mb_stdfds_take(const struct mb_activation *activation, struct mb_stdfds *ret);

#endif
