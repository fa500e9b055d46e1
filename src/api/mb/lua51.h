/*
 * What Lua 5.1 has and Lua 5.3 has not: unpack, module and so on, for programs that --style runs and that were
 * written for 5.1. Scripts of ours must never see these names.
 */
#ifndef MB_LUA51_H
#define MB_LUA51_H

#include <lua.h>

/*
 * Sets the functions in the global table and in the tables of the standard libraries, where there is none of
 * that name. May throw.
 */
void mb_lua51_open(lua_State *L);

#endif
