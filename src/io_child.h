/* The child object, and the function of moonbridge_io that makes one. */
#ifndef MB_IO_CHILD_H
#define MB_IO_CHILD_H

#include <lua.h>

/* A row in io_module.c's table. */
int mb_io_exec(lua_State *L);

struct mb_child;

/*
 * The child at an index, for poll: *ret is NULL when it has been reaped. Returns 0 when there is no
 * child at the index.
 */
int mb_io_child_test(lua_State *L, int index, struct mb_child **ret);

#endif
