/* Functions of the module that make LuaSocket's TCP objects. */
#ifndef MB_LUASOCKET_TCP_H
#define MB_LUASOCKET_TCP_H

#include <lua.h>

int mb_luasocket_tcp(lua_State *L);
int mb_luasocket_tcp4(lua_State *L);
int mb_luasocket_tcp6(lua_State *L);
int mb_luasocket_bind(lua_State *L);
int mb_luasocket_connect(lua_State *L);
int mb_luasocket_connect4(lua_State *L);
int mb_luasocket_connect6(lua_State *L);
int mb_luasocket_wrap(lua_State *L);

#endif
