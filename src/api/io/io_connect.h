/* Functions of moonbridge_io that open a connection; rows in io_module.c's table. */
#ifndef MB_IO_CONNECT_H
#define MB_IO_CONNECT_H

#include <lua.h>

int mb_io_localconnect(lua_State *L);
int mb_io_localconnect_nb(lua_State *L);
int mb_io_tcpconnect(lua_State *L);
int mb_io_tcpconnect_nb(lua_State *L);

#endif
