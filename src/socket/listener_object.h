/* The listener object, and the functions of moonbridge_io that make one. */
#ifndef MB_LISTENER_OBJECT_H
#define MB_LISTENER_OBJECT_H

#include <lua.h>

/* Rows in io_module.c's table. */
int mb_listener_object_locallisten(lua_State *L);
int mb_listener_object_tcplisten(lua_State *L);

/*
 * Returns the descriptor of the listener at an index, for poll; -1 when the value is not a listener.
 * Throws when the listener is closed.
 */
int mb_listener_object_fd(lua_State *L, int index);

/* The module mb.http_server.listener: pushes its function. */
int mb_listener_object_open(lua_State *L);

#endif
