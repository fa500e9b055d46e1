/*
 * The line for a connection's end: who, which listener, how long, how much, how it ended. At level
 * info; nothing is done, and nothing counted, when that is not written.
 */
#ifndef MB_CONNECTION_LOG_H
#define MB_CONNECTION_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "socket/handle.h"

/* One end of the connection: as the line has it, and as the journal's fields have it for a search. */
struct mb_connection_end {
  char label[MB_ADDR_LABEL_MAX];
  char address[MB_ADDR_LABEL_MAX];
  char port[8]; /* empty: there is none */
};

/* Only `wanted` has a value where nobody wants the line. */
struct mb_connection_log {
  bool wanted, to_journal;
  int64_t began; /* monotonic microseconds */
  struct mb_connection_end peer, proxy;
  char listener[MB_ADDR_LABEL_MAX];
  struct mb_traffic traffic;
};

/*
 * A connection begins: if its end will be logged, notes the time and the addresses. The process's exit
 * writes the line at the latest, by os.exit too; so does the alarm of timeout().
 * log  stays where it is until its end is logged
 */
void mb_connection_log_begin(struct mb_connection_log *log, int fd, const struct mb_addr *local,
                             const struct mb_addr *remote, bool to_journal);

/* Returns what the handle counts with, or NULL when nobody wants to know. */
struct mb_traffic *mb_connection_log_traffic(struct mb_connection_log *log);

/* A proxy has named the client: what was the peer is the proxy from now on. */
void mb_connection_log_client(struct mb_connection_log *log, const struct mb_addr *client);

/* The connection has ended, with this exit status. */
void mb_connection_log_end(struct mb_connection_log *log, int status);

/* The same, when something else than a handler has ended it: "time is up". Async-signal-safe. */
void mb_connection_log_end_by(struct mb_connection_log *log, const char *what);

#endif
