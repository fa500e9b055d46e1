/*
 * One connection, from its descriptor to its end: all that the process knows of it stands in one struct, so
 * that nothing is left for the next one.
 */
#ifndef MB_CONNECTION_H
#define MB_CONNECTION_H

#include "app/connection_log.h"
#include "base/addr.h"
#include "socket/channel.h"

struct mb_connection {
  struct mb_channel io;
  struct mb_addr local, remote; /* len 0 in a replay */
  struct mb_connection_log log;
};

/*
 * Takes over an accepted connection, which the death of the process resets from now on.
 * to_journal  how the line for its end is logged (--log-format)
 * Returns 0; -ENOTCONN when the client has gone already; or -errno. The connection is open in any case.
 */
int mb_connection_open(struct mb_connection *c, int fd, bool to_journal);

/* Takes over the two files of a replay. */
void mb_connection_replay(struct mb_connection *c, int in_fd, int out_fd);

/*
 * Forgets the connection, after its end and that of its Lua state: resets all that the process keeps of one
 * outside of the struct. Another connection can be opened then.
 */
void mb_connection_forget(struct mb_connection *c, int status);

#endif
