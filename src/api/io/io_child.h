/* The child object, and the function of moonbridge_io that makes one. */
#ifndef MB_IO_CHILD_H
#define MB_IO_CHILD_H

#include <lua.h>
#include <stdbool.h>

/* A row in io_module.c's table. */
int mb_io_exec(lua_State *L);

struct mb_child;

/*
 * Returns whether there is a child at an index; for poll.
 * ret  its process, or NULL when it has been reaped
 */
bool mb_io_child_test(lua_State *L, int index, struct mb_child **ret);

#endif
