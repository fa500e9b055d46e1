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
 * Returns whether no connection can come to a server of a program with --style: the server has accepted the
 * connection, or is closed, or has another address. Throws when it has another address and no other server
 * can accept the connection.
 */
bool mb_luasocket_is_in_vain(lua_State *L, const struct mb_luasocket *s);

/*
 * Returns whether the server is a stand-in that has accepted the connection, and may get another one when that is
 * over: mb_standin_next.
 */
bool mb_luasocket_is_next(const struct mb_luasocket *s);

/*
 * Waits for servers to which no connection can come, until the deadline. Ends the program when it would wait
 * for ever; gives it one more turn (mb_standin_turn) when the connection that it has accepted is over. Throws
 * when the program would wait for ever, and has not accepted the connection.
 * wait  as for mb_standin_turn
 */
void mb_luasocket_wait_in_vain(lua_State *L, const void *wait, int64_t deadline);

#endif
