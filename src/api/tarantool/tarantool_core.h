/* mb.tarantool.core: what the Lua modules of mb.tarantool ask the system for. */
#ifndef MB_TARANTOOL_CORE_H
#define MB_TARANTOOL_CORE_H

#include <lua.h>

/* The module's loader. */
int mb_tarantool_core_open(lua_State *L);

#endif
