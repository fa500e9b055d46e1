/* The waits of a response that goes on as things happen. */
#ifndef MB_HTTP_STREAM_H
#define MB_HTTP_STREAM_H

#include <lua.h>

/*
 * core.ends(socket, seconds)
 * Returns whether a response that goes on has to end: the client has gone, or the process is told to end (drain.h).
 * Waits at most so many seconds for that. Throws when the system cannot wait.
 */
int mb_http_stream_ends(lua_State *L);

#endif
