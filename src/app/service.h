/*
 * Runs the handlers of one listen{} call in their order: prepare once in a process, connect in a turn,
 * finish once. Serving a connection is a turn, and so is running a task.
 */
#ifndef MB_SERVICE_H
#define MB_SERVICE_H

#include <lua.h>

#include "app/listen.h"
#include "app/options.h"
#include "base/exits.h"

/*
 * A turn calls connect with the argument that it makes; where that is a connection, it ends the connection.
 * It may leave values on the stack.
 */
typedef enum mb_exit mb_service_turn(lua_State *L, const struct mb_service *service, void *context);

/*
 * Runs the service: prepare, the sandbox, a turn, finish. When prepare fails there is no turn, and finish is not
 * called. A limit that a handler has set by timeout() ends with the handler.
 * Returns the first failure.
 */
enum mb_exit mb_service_run(lua_State *L, const struct mb_service *service,
                            const struct mb_options *options, mb_service_turn *turn, void *context);

/*
 * Calls connect with the value on top of the stack, and pops that.
 * ret_goes_on  is set when connect returns: whether it has returned true, and so the process may serve another
 *              connection. Source: reference, example.lua.
 * Returns LUA_OK, or another status with the error on the stack.
 */
int mb_service_connect(lua_State *L, const struct mb_service *service, bool *ret_goes_on);

#endif
