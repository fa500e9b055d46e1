/* The module mb.http_server.detach: a connection for the real lua-http. */
#ifndef MB_HTTP_SERVER_DETACH_H
#define MB_HTTP_SERVER_DETACH_H

#include <lua.h>

/* Pushes the module: the function. */
int mb_http_server_detach_open(lua_State *L);

#endif
