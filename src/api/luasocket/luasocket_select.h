/* socket.select. */
#ifndef MB_LUASOCKET_SELECT_H
#define MB_LUASOCKET_SELECT_H

#include <lua.h>

int mb_luasocket_select(lua_State *L);

#endif
