/* Waits for a request. */
#ifndef MB_HTTP_IDLE_H
#define MB_HTTP_IDLE_H

#include <lua.h>
#include <stdbool.h>

#include "socket/handle.h"

/*
 * input:await(seconds, first)
 * Waits until input comes, for so many seconds; math.huge: for ever. first: it is the first of the connection. When
 * the process is to end (drain.h), it waits only until the client was silent for a moment: a request that is on its
 * way gets its answer.
 * Returns whether input has come, or has ended; false, too, when the connection was handed over. Throws when the system
 * cannot wait.
 */
int mb_http_input_await(lua_State *L);

/*
 * Hands a connection over to whoever wants it (kept.h), when another request has come and no byte of it is read.
 * Returns whether it has: the handle is closed then, and the connection is not.
 */
bool mb_http_hand_over(struct mb_handle *h);

#endif
