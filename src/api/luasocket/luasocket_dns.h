/* The native module mb.luasocket.dns, which is socket.dns. */
#ifndef MB_LUASOCKET_DNS_H
#define MB_LUASOCKET_DNS_H

#include <lua.h>

int mb_luasocket_dns_open(lua_State *L);

#endif
