/* mb.tarantool.core: gives the Lua modules of mb.tarantool what they need from the system. */
#ifndef MB_TARANTOOL_CORE_H
#define MB_TARANTOOL_CORE_H

#include <lua.h>

/* The module's loader. */
int mb_tarantool_core_open(lua_State *L);

#endif
