/* Opens a connection, and forgets it. Must know everything in the process that would outlive a connection. */
#include "app/connection.h"

#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "socket/standin.h"
#include "socket/timeout.h"

int mb_connection_open(struct mb_connection *c, int fd, bool to_journal) {
  c->io = mb_channel_of(fd, fd, mb_fd_kind_of(fd));
  /* Half an answer must not look like a whole one. */
  mb_fd_set_reset_on_close(fd, c->io.kind, true);
  c->log.wanted = false;
  int r = mb_addr_of(fd, &c->local, &c->remote);
  if (r == 0 || r == -ENOTCONN)
    mb_connection_log_begin(&c->log, fd, &c->local, &c->remote, to_journal);
  return r;
}

void mb_connection_replay(struct mb_connection *c, int in_fd, int out_fd) {
  c->io = mb_channel_of(in_fd, out_fd, MB_FD_FILE);
  c->local.len = c->remote.len = 0;
  c->log.wanted = false;
}

void mb_connection_forget(struct mb_connection *c, int status) {
  mb_connection_log_end(&c->log, status);
  fflush(stdout); /* what the script has printed stays with its connection */
  mb_log_flush();
  mb_standin_forget();
  mb_timeout_forget();
}
