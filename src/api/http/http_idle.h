/* Waits for another request on a connection that is kept. */
#ifndef MB_HTTP_IDLE_H
#define MB_HTTP_IDLE_H

#include <lua.h>

/*
 * core.await_request(socket, seconds)
 * Waits until input comes, for so many seconds; math.huge: for ever. When the process is to end (drain.h), it waits
 * only for a client that has been silent for a moment: one that sends its next request right now gets its answer.
 * Returns whether input has come, or ended; or nil, message.
 */
int mb_http_await_request(lua_State *L);

#endif
