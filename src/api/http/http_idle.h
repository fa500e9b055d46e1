/* Waits for a request. */
#ifndef MB_HTTP_IDLE_H
#define MB_HTTP_IDLE_H

#include <lua.h>

/*
 * input:await(seconds, first)
 * Waits until input comes, for so many seconds; math.huge: for ever. first: it is the first of the connection. When
 * the process is to end (drain.h), it waits for another request only until the client was silent for a moment: a
 * request that is on its way gets its answer.
 * Returns whether input has come, or has ended. Throws when the system cannot wait.
 */
int mb_http_input_await(lua_State *L);

#endif
