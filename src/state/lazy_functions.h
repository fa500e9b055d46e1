/*
 * Tables of C functions, each of which gets into the table when a script first asks for it. Filling a
 * table with forty functions would cost a connection more than calling the three that it needs.
 */
#ifndef MB_LAZY_FUNCTIONS_H
#define MB_LAZY_FUNCTIONS_H

#include <lauxlib.h>

/*
 * Pushes a metatable for such a table. It has no fields except __index and __pairs. The table may have
 * fields of its own; pairs finds them and all the functions.
 * functions  must stay where it is
 * others     NULL, or called as __index(table, name) for any other name; what it returns gets into the
 *            table, too
 */
void mb_lazy_functions_push(lua_State *L, const luaL_Reg *functions, lua_CFunction others);

/* Pushes such a table of functions, with nothing else. */
void mb_lazy_functions_table(lua_State *L, const luaL_Reg *functions);

#endif
