/*
 * A client for the handler's fuzz harness, in the place of the system: it sends its input in pieces,
 * may be slow to read, and time passes only while the handler waits. So nothing that is tested
 * depends on a clock, and a wait that never ends is a finding.
 *
 * It stands in for mb_fd_read, mb_fd_writev and their like, poll, ppoll and mb_now_usec: the linker's
 * --wrap puts it there.
 */
#ifndef MB_FUZZ_HANDLER_CLIENT_H
#define MB_FUZZ_HANDLER_CLIENT_H

#include "../../src/fdio.h"
#include "fuzz.h"

struct client {
  struct mb_span input;
  enum fuzz_split split;
  size_t arrived; /* bytes of the input that are there to be read */
  size_t taken;   /* bytes of the input that were read */
  int64_t now;    /* monotonic microseconds */

  bool slow;   /* reads only what it has to */
  size_t room; /* how much output is taken without waiting */
  struct fuzz_text output;
  bool output_ended; /* FIN */
  bool reset;
};

/* The one that is connected. */
extern struct client client;

/* split: how the input comes; slow: reads little until it has sent everything. */
void client_begin(struct mb_span input, enum fuzz_split split, bool slow);
void client_end(void);

#endif
