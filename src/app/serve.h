/* Serves a connection: picks the script's listener for it, and runs its handlers. */
#ifndef MB_SERVE_H
#define MB_SERVE_H

#include "base/exits.h"
#include "base/fdio.h"
#include "app/options.h"
#include "base/addr.h"
#include "base/stdfds.h"

struct mb_handle;

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

/*
 * Ends the connection, if it is open: sends what is pending and FIN, or resets it when it is not
 * healthy. A client that has gone is logged, at info: it is no failure of ours.
 */
void mb_serve_end_connection(struct mb_handle *h, bool healthy);

#endif
