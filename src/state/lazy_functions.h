/*
 * Tables of C functions that are filled as they are asked for: to make a table of forty costs a
 * connection more than the three that it calls.
 */
#ifndef MB_LAZY_FUNCTIONS_H
#define MB_LAZY_FUNCTIONS_H

#include <lauxlib.h>

/*
 * Pushes a metatable for such a table, with no other field than what that needs. A table may have
 * fields of its own; pairs finds everything.
 * functions  stays where it is
 * others     called as __index(table, name) for any other name, and keeps nothing by itself; or NULL
 */
void mb_lazy_functions_push(lua_State *L, const luaL_Reg *functions, lua_CFunction others);

#endif
