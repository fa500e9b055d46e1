/* LuaSocket's exceptions: try, newtry, protect; and skip. */
#ifndef MB_LUASOCKET_EXCEPT_H
#define MB_LUASOCKET_EXCEPT_H

#include <lua.h>

int mb_luasocket_try(lua_State *L);
int mb_luasocket_newtry(lua_State *L);
int mb_luasocket_protect(lua_State *L);
int mb_luasocket_skip(lua_State *L);

#endif
