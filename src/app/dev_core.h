/* The module mb.dev.core. */
#ifndef MB_DEV_CORE_H
#define MB_DEV_CORE_H

#include <lua.h>

int mb_dev_core_open(lua_State *L);

#endif
