/* Looks over JSON texts, for mb.http.json. See http_json_text.c. */
#ifndef MB_API_HTTP_JSON_TEXT_H
#define MB_API_HTTP_JSON_TEXT_H

#include <lua.h>

int mb_http_json_look(lua_State *L);

#endif
