/* The module mb.http_server.upgrade: whether a request may be answered by a 101. */
#ifndef MB_HTTP_SERVER_UPGRADE_H
#define MB_HTTP_SERVER_UPGRADE_H

#include <lua.h>

/* Pushes the module, which is a function. May throw. */
int mb_http_server_upgrade_open(lua_State *L);

#endif
