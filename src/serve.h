/* Serves a connection: picks the script's listener for it, and runs its handlers. */
#ifndef MB_SERVE_H
#define MB_SERVE_H

#include "exits.h"
#include "fdio.h"
#include "options.h"
#include "peer.h"
#include "stdfds.h"

/* What the handlers are given. */
struct mb_connection {
  struct mb_stdfds fds;
  enum mb_fd_kind kind;
  struct mb_addr local, remote; /* len 0 in a replay */
};

/*
 * Serves the connection with the script that the options name; ends it in any case. Logs what goes
 * wrong.
 */
enum mb_exit mb_serve(const struct mb_options *options, const struct mb_connection *connection);

#endif
