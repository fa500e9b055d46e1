/* The native module mb.luasocket: LuaSocket's TCP objects over our connections. */
#ifndef MB_LUASOCKET_H
#define MB_LUASOCKET_H

#include <lua.h>

int mb_luasocket_open(lua_State *L);

#endif
