/* LuaSocket's servers. */
#ifndef MB_LUASOCKET_SERVER_H
#define MB_LUASOCKET_SERVER_H

#include <lua.h>
#include <stdbool.h>

#include "api/luasocket/luasocket_object.h"

/* The number of connections that may wait to be accepted, unless the script gives one. */
#define MB_LUASOCKET_BACKLOG 32

/* Makes the master at an index a server. Returns NULL, or a message, which may be on the stack. */
const char *mb_luasocket_listen(lua_State *L, int object, int backlog);

/* Returns whether the server is a stand-in with a connection to accept. */
bool mb_luasocket_has_pending(const struct mb_luasocket *s);

/*
 * Waits for a server that stands in, to which no connection can come any more: until the deadline, if there
 * is one and the connection that the server has accepted is still open. Otherwise ends the program.
 */
void mb_luasocket_wait_in_vain(lua_State *L, int64_t deadline);

#endif
