/*
 * Descriptors 0, 1 and 2: the connection is moved off them, so that nothing a script or a library
 * prints can reach the client.
 */
#ifndef MB_STDFDS_H
#define MB_STDFDS_H

#include <stdbool.h>

#include "base/activation.h"

/*
 * Where the connection (both the same), or a replay's input and output, stand: above 2,
 * close-on-exec.
 */
struct mb_stdfds {
  int in, out;
};

/*
 * First thing in main: opens /dev/null on those of 0, 1, 2 that are closed, moves fd 2 off the
 * connection (to syslog's socket, or a journal stream, or /dev/null, whichever there is first), and
 * sets the log's target.
 *
 * ret_closed  which were closed: bit 0 for fd 0, and so on
 * Returns 0 or -errno.
 */
int mb_stdfds_prepare(unsigned *ret_closed);

/*
 * Takes over what we were given: 0 becomes /dev/null where that stood there, and 1 a copy of 2 (the
 * log).
 * Returns 0, or -errno with ret untouched.
 */
int mb_stdfds_take(const struct mb_activation *activation, struct mb_stdfds *ret);

#endif
