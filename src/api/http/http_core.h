/* mb.http.core: the byte work of HTTP, as a module for the Lua modules below mb.http. */
#ifndef MB_HTTP_CORE_H
#define MB_HTTP_CORE_H

#include <lua.h>

/* Pushes the module's table (a lua_CFunction for require). */
int mb_http_core_open(lua_State *L);

#endif
