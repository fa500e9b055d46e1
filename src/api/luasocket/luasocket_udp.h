/* The native module mb.luasocket.udp.port: LuaSocket's methods that take a port take ours. */
#ifndef MB_LUASOCKET_UDP_H
#define MB_LUASOCKET_UDP_H

#include <lua.h>

int mb_luasocket_udp_open(lua_State *L);

#endif
