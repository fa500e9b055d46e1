/*
 * The handlers of one listen{} call, in their order: prepare once in a process, connect for what comes,
 * finish once. Serving a connection and running a task are both a turn of this.
 */
#ifndef MB_SERVICE_H
#define MB_SERVICE_H

#include <lua.h>

#include "app/listen.h"
#include "base/exits.h"

/* Calls connect with what it is given, and ends that. May leave values on the stack. */
typedef enum mb_exit mb_service_turn(lua_State *L, const struct mb_service *service, void *context);

/*
 * Runs the service: prepare, a turn, finish. When prepare fails there is no turn, and finish is not called.
 * What a handler has set by timeout() ends with it.
 * Returns the first failure.
 */
enum mb_exit mb_service_run(lua_State *L, const struct mb_service *service, mb_service_turn *turn,
                            void *context);

/*
 * Calls connect with the value on top of the stack, and pops that.
 * Returns LUA_OK, or another status with the error on the stack.
 */
int mb_service_connect(lua_State *L, const struct mb_service *service);

#endif
