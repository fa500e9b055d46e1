/* Paths of URLs, for Lua. See http_path.c. */
#ifndef MB_API_HTTP_PATH_H
#define MB_API_HTTP_PATH_H

#include <lua.h>

int mb_http_decode_path(lua_State *L);
int mb_http_path_segments(lua_State *L);
int mb_http_route_pattern(lua_State *L);

#endif
