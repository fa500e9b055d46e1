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

/*
 * Serves a connection in a Lua state that has served others, or none so far, and whose prepare handler was called. Ends
 * the connection in any case. Logs what goes wrong.
 * ret_goes_on  whether the state may serve another one: connect has returned true
 */
enum mb_exit mb_serve_next(lua_State *L, const struct mb_options *options,
                           const struct mb_listen_entry *listener, struct mb_connection *connection,
                           bool *ret_goes_on);

#endif
