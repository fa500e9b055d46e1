/* Which elements of the sets of moonbridge_io.poll are ready. */
#ifndef MB_IO_READY_H
#define MB_IO_READY_H

#include <lua.h>

/* Empties the table at index. */
void mb_io_ready_empty(lua_State *L, int index);

/*
 * Adds the elements of the sets at the indices input and output that are ready now to the table at index `ready`: "r",
 * "w" or "rw" for each. Elements that cannot be polled do not count. May throw.
 */
void mb_io_ready_fill(lua_State *L, int input, int output, int ready);

#endif
