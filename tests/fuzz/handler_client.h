/*
 * A client for the handler's fuzz harness, in the place of the system: it sends its input in pieces,
 * may be slow to read, and time passes only while the handler waits. So nothing that is tested
 * depends on a clock, and a wait that never ends is a finding.
 *
 * It is a transport. Besides, it stands in for mb_now_usec, poll, ppoll and the log: the linker's --wrap
 * puts it there.
 */
#ifndef MB_FUZZ_HANDLER_CLIENT_H
#define MB_FUZZ_HANDLER_CLIENT_H

#include "base/transport.h"
#include "fuzz.h"

/* What kind of client it is. */
struct client_nature {
  enum fuzz_split split; /* how its input comes */
  bool slow;             /* reads only what it has to, until it has sent everything */
  bool stays;            /* does not end its output when it has sent everything, but waits */
  size_t breaks_after;   /* the connection is lost when it has read so much; SIZE_MAX: never */
};

struct client {
  struct client_nature nature;
  struct mb_span input;
  size_t arrived; /* bytes of the input that are there to be read */
  size_t taken;   /* bytes of the input that were read */
  int64_t now;    /* monotonic microseconds */
  size_t room;    /* how much output is taken without waiting */
  int64_t full;   /* when there was no more room */
  struct fuzz_text output;
  bool output_ended;              /* FIN */
  bool reset;                     /* by the handler */
  unsigned log_lines, log_alarms; /* the latter: warnings and errors */
};

/* The one that is connected. */
extern struct client client;

/* The handle's way to the client that is connected. */
extern const struct mb_transport client_transport;

void client_begin(struct mb_span input, const struct client_nature *nature);
void client_end(void);

#endif
