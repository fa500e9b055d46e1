/* The methods of LuaSocket's objects, for the table in luasocket_object.c. The object is at index 1. */
#ifndef MB_LUASOCKET_METHODS_H
#define MB_LUASOCKET_METHODS_H

#include <lua.h>

int mb_luasocket_method_accept(lua_State *L);
int mb_luasocket_method_bind(lua_State *L);
int mb_luasocket_method_connect(lua_State *L);
int mb_luasocket_method_getfamily(lua_State *L);
int mb_luasocket_method_getoption(lua_State *L);
int mb_luasocket_method_getpeername(lua_State *L);
int mb_luasocket_method_getsockname(lua_State *L);
int mb_luasocket_method_getstats(lua_State *L);
int mb_luasocket_method_gettimeout(lua_State *L);
int mb_luasocket_method_listen(lua_State *L);
int mb_luasocket_method_receive(lua_State *L);
int mb_luasocket_method_send(lua_State *L);
int mb_luasocket_method_setoption(lua_State *L);
int mb_luasocket_method_setstats(lua_State *L);
int mb_luasocket_method_settimeout(lua_State *L);
int mb_luasocket_method_shutdown(lua_State *L);

#endif
