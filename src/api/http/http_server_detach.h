/* The module mb.http_server.detach: gives a connection to the original lua-http. */
#ifndef MB_HTTP_SERVER_DETACH_H
#define MB_HTTP_SERVER_DETACH_H

#include <lua.h>

/* Pushes the module, which is one function. */
int mb_http_server_detach_open(lua_State *L);

#endif
