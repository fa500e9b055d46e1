/* Errors of mb.tarantool: the names of errno(7), and the number of the last one. */
#ifndef MB_TARANTOOL_ERRNO_H
#define MB_TARANTOOL_ERRNO_H

#include <lua.h>

/*
 * core.errnos(): returns a table {EAGAIN = 11, ...}.
 * Source: reference, "box.errno".
 */
int mb_tarantool_errnos(lua_State *L);

/*
 * core.strerror(number): returns the system's text for an error. For EADDRNOTAVAIL, if that was a refusal, it is
 * the refusal's: many programs print no other text.
 */
int mb_tarantool_strerror(lua_State *L);

/* core.errno([new]): returns the number of the last error of any call, and sets it. */
int mb_tarantool_errno(lua_State *L);

/* Pushes nil and the number -r of an error, and makes that the last error. Returns 2. */
int mb_tarantool_push_error(lua_State *L, int r);

/* Pushes what mb_tarantool_push_error does for EADDRNOTAVAIL, and a message that tells more. Returns 3. */
int mb_tarantool_push_refusal(lua_State *L, const char *message);

/* Pushes true when r >= 0, otherwise the same as mb_tarantool_push_error. Returns the number of results. */
int mb_tarantool_push_outcome(lua_State *L, int r);

#endif
