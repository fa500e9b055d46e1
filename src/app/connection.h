/*
 * One connection, from its descriptor to its end. All that the process knows of it stands in one struct,
 * so that nothing is left for the next one.
 */
#ifndef MB_CONNECTION_H
#define MB_CONNECTION_H

#include "app/connection_log.h"
#include "base/addr.h"
#include "socket/channel.h"

struct mb_connection {
  struct mb_channel io;
  struct mb_addr local, remote; /* len 0 in a replay */
  bool is_proxied;              /* a proxy's header was taken off; remote is who it names */
  struct mb_connection_log log;
  unsigned number; /* among those of this process, from 1 on */
};

/*
 * Takes over an accepted connection; if the process dies from now on, the system resets it.
 * to_journal  true: the line for its end goes to the journal (--log-format)
 * keepalive   seconds after which a TCP client that has vanished ends the connection; 0: the socket stays
 *             as it was handed over (--tcp-keepalive)
 * Returns 0; -ENOTCONN when the client has gone already; or -errno. The connection is open in any case.
 */
int mb_connection_open(struct mb_connection *c, int fd, bool to_journal, int keepalive);

/* Takes over the two files of a replay. */
void mb_connection_replay(struct mb_connection *c, int in_fd, int out_fd);

/*
 * Ends the connection, after its handle or its Lua state has ended: resets and closes it when no handle has
 * taken it over, logs its end when nobody has, and resets all that the process keeps of it outside of the
 * struct, but what stands in for a program's listener. Then another connection can be opened. A script's changes
 * to the process itself stay: the seed of math.random, the state of modules in C, and children that still run.
 * status  the exit status, for the log
 */
void mb_connection_end(struct mb_connection *c, int status);

/* The locale that the script has set until now holds for all connections: each one begins with it. */
void mb_connection_keep_locale(void);

#endif
