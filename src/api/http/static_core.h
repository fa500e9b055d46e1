/* The module mb.static.core: the parts of mb.static in C. */
#ifndef MB_STATIC_CORE_H
#define MB_STATIC_CORE_H

#include <lua.h>

/* Opens the module, for require. */
int mb_static_core_open(lua_State *L);

#endif
