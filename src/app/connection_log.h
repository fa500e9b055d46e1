/*
 * The line for a connection's end: who, which listener, how long, how much, how it ended. At level
 * info; nothing is done, and nothing counted, when that is not written.
 */
#ifndef MB_CONNECTION_LOG_H
#define MB_CONNECTION_LOG_H

#include "app/options.h"
#include "base/addr.h"
#include "app/serve.h"

/*
 * A connection begins: if its end will be logged, notes the time and the addresses. It is logged when
 * the process exits at the latest, by os.exit too.
 */
void mb_connection_log_begin(const struct mb_options *options,
                             const struct mb_connection *connection);

/* Where the handle is to count; NULL: not. */
struct mb_traffic *mb_connection_log_traffic(void);

/* A proxy has named the client: what was the peer is the proxy from now on. */
void mb_connection_log_client(const struct mb_addr *client);

/* The connection has ended, with this exit status. */
void mb_connection_log_end(int status);

/* The same, when something else than a handler has ended it: "time is up". Async-signal-safe. */
void mb_connection_log_end_by(const char *what);

#endif
