/*
 * The log's line for a connection's end: the peer, the listener, how long, how many bytes, how it ended.
 * Its level is info; nothing is done, and nothing counted, when the log does not take that level.
 */
#ifndef MB_CONNECTION_LOG_H
#define MB_CONNECTION_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "socket/handle.h"

/* One end of the connection: the label is for the line, address and port are for the journal's fields. */
struct mb_connection_end {
  char label[MB_ADDR_LABEL_MAX];
  char address[MB_ADDR_LABEL_MAX];
  char port[8]; /* empty: there is none */
};

/* When nobody wants the line, only `wanted` has a value. */
struct mb_connection_log {
  bool wanted, to_journal;
  int64_t began; /* monotonic microseconds */
  struct mb_connection_end peer, proxy;
  char listener[MB_ADDR_LABEL_MAX];
  struct mb_traffic traffic;
};

/*
 * Has a function called when the process exits, or the alarm of timeout() goes off, before the line for the
 * connection's end is written.
 */
void mb_connection_log_watch(void (*before)(void));

/*
 * Notes the time and the addresses of a connection that begins, if its end will be logged. When the
 * process exits (by os.exit too) or the alarm of timeout() goes off, it writes the line, if nobody has.
 * log  stays where it is until its end is logged
 */
void mb_connection_log_begin(struct mb_connection_log *log, int fd, const struct mb_addr *local,
                             const struct mb_addr *remote, bool to_journal);

/* Returns the handle's counters, or NULL when nobody wants them. */
struct mb_traffic *mb_connection_log_traffic(struct mb_connection_log *log);

/* Notes the client that a proxy has named: it is the peer from now on, and the former peer is the proxy. */
void mb_connection_log_client(struct mb_connection_log *log, const struct mb_addr *client);

/* Logs that the connection has ended with this exit status, if its end is not logged yet. */
void mb_connection_log_end(struct mb_connection_log *log, int status);

/* Does the same when something other than a handler has ended it: "time is up". Async-signal-safe. */
void mb_connection_log_end_by(struct mb_connection_log *log, const char *what);

#endif
