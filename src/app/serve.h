/* Serves a connection: picks the script's listener for it, and runs its handlers. */
#ifndef MB_SERVE_H
#define MB_SERVE_H

#include "app/connection.h"
#include "app/options.h"
#include "base/exits.h"

/*
 * Serves the connection with the script that the options name, and ends it in any case. Logs what goes
 * wrong.
 */
enum mb_exit mb_serve(const struct mb_options *options, struct mb_connection *connection);

#endif
