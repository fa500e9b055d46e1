/*
 * From a script to an exit status: find it, load it, pick the service for the connection, run its
 * handlers.
 */
#ifndef MB_SCRIPT_H
#define MB_SCRIPT_H

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

/* Serves the connection with the script that the options name. Logs what goes wrong. */
enum mb_exit mb_script_serve(const struct mb_options *options,
                             const struct mb_connection *connection);

/* --check: loads the script and writes its listeners to fd out. Logs what goes wrong. */
enum mb_exit mb_script_check(const struct mb_options *options, int out);

#endif
