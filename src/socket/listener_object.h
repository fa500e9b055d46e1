/* The listener object, and the functions of moonbridge_io that make one. */
#ifndef MB_IO_LISTENER_H
#define MB_IO_LISTENER_H

#include <lua.h>

/* Rows in io_module.c's table. */
int mb_io_locallisten(lua_State *L);
int mb_io_tcplisten(lua_State *L);

/*
 * Returns the descriptor of the listener at an index, for poll; -1 when the value is not a listener.
 * Throws when the listener is closed.
 */
int mb_io_listener_fd(lua_State *L, int index);

/* The module mb.http_server.listener: pushes its function. */
int mb_io_listener_open(lua_State *L);

#endif
