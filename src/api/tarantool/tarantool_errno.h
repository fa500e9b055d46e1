/* The errors of errno(7) by name, for mb.tarantool. */
#ifndef MB_TARANTOOL_ERRNO_H
#define MB_TARANTOOL_ERRNO_H

#include <lua.h>

/*
 * core.errnos(): returns a table {EAGAIN = 11, ...}.
 * Source: reference, "box.errno".
 */
int mb_tarantool_errnos(lua_State *L);

/* core.strerror(number): returns the system's text for an error. */
int mb_tarantool_strerror(lua_State *L);

#endif
