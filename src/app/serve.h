/* Serves a connection: picks the script's listener for it, and runs its handlers. */
#ifndef MB_SERVE_H
#define MB_SERVE_H

#include <lua.h>
#include <stdbool.h>

#include "app/connection.h"
#include "app/listen.h"
#include "app/options.h"
#include "base/exits.h"

/*
 * Serves the connection with the script that the options name, and ends it in any case. Logs what goes
 * wrong.
 */
enum mb_exit mb_serve(const struct mb_options *options, struct mb_connection *connection);

/* Where further connections of a program come from that accepts by itself (--style). */
struct mb_serve_more {
  int fd;      /* readable when it is time to call next; -1: there are none */
  bool is_one; /* all come in on the same address */
  /*
   * Notes that the connection before has ended, and opens another.
   * deadline  monotonic microseconds, or MB_NO_DEADLINE
   * Returns 1; 0 at the deadline; -1 when no other comes.
   */
  int (*next)(lua_State *L, struct mb_connection *connection, int64_t deadline, void *context);
  void *context;
};

/*
 * Serves a connection in a Lua state that has served others, or none so far, and whose prepare handler was called. Ends
 * the connection in any case. Logs what goes wrong. A program may have been served further connections.
 * ret_goes_on  whether the state may serve another one: connect has returned true
 */
enum mb_exit mb_serve_next(lua_State *L, const struct mb_options *options,
                           const struct mb_listen_entry *listener, struct mb_connection *connection,
                           const struct mb_serve_more *more, bool *ret_goes_on);

#endif
