/*
 * A client for the fuzz harness of handlers, in the place of the system. It sends its input in pieces and
 * may be slow to read. Time passes only while the handler waits, so no test depends on a clock, and a wait
 * that never ends is a finding.
 *
 * It is a transport. It also stands in for mb_now_usec, poll, ppoll and the log, by the linker's --wrap.
 */
#ifndef MB_FUZZ_HANDLER_CLIENT_H
#define MB_FUZZ_HANDLER_CLIENT_H

#include "base/transport.h"
#include "fuzz.h"

/* The ways in which a client behaves. */
struct client_nature {
  enum fuzz_split split; /* how its input comes */
  bool slow;             /* reads no more than it has to, until it has sent everything */
  bool stays;            /* does not end its output when it has sent everything, but waits */
  size_t breaks_after;   /* loses the connection when it has read so much; SIZE_MAX: never */
};

struct client {
  struct client_nature nature;
  struct mb_span input;
  size_t arrived; /* bytes of the input that are there to be read */
  size_t taken;   /* bytes of the input that were read */
  int64_t now;    /* monotonic microseconds */
  size_t room;    /* how much output it takes without waiting */
  int64_t full;   /* when there was no more room */
  struct fuzz_text output;
  bool output_ended;              /* FIN */
  bool reset;                     /* the handler has reset the connection */
  unsigned log_lines, log_alarms; /* all lines; those that are warnings or errors */
};

/* The client that is connected. */
extern struct client client;

/* The handle's way to the client that is connected. */
extern const struct mb_transport client_transport;

void client_begin(struct mb_span input, const struct client_nature *nature);
void client_end(void);

#endif
