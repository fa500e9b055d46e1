/* LuaSocket's servers. */
#ifndef MB_LUASOCKET_SERVER_H
#define MB_LUASOCKET_SERVER_H

#include <lua.h>
#include <stdbool.h>

#include "api/luasocket/luasocket_object.h"

/* How many connections may wait to be accepted, where a script does not say. */
#define MB_LUASOCKET_BACKLOG 32

/* Makes a server of the master at an index. Returns NULL, or a message, which may be on the stack. */
const char *mb_luasocket_listen(lua_State *L, int object, int backlog);

/* Whether a server that stands in has a connection to accept. */
bool mb_luasocket_has_pending(const struct mb_luasocket *s);

/*
 * Waits for a connection that cannot come any more, where a server stands in: until the deadline, if
 * there is one and the connection that it had is still open. Else the program ends.
 */
void mb_luasocket_wait_in_vain(lua_State *L, int64_t deadline);

#endif
