/* The modules mb.http_server.detach and mb.http_server.adopt: connections that change between libraries. */
#ifndef MB_HTTP_SERVER_DETACH_H
#define MB_HTTP_SERVER_DETACH_H

#include <lua.h>

/* Push the modules; each is one function. */
int mb_http_server_detach_open(lua_State *L);
int mb_http_server_adopt_open(lua_State *L);

#endif
