/* Names and values of a request as Lua tables: header fields, cookies, form parameters. */
#ifndef MB_HTTP_FIELDS_H
#define MB_HTTP_FIELDS_H

#include <lua.h>

#include "http/http_span.h"

/* Pushes a string, or nil for a span without data. */
void mb_http_push_span(lua_State *L, struct mb_span span);

/* Pushes the text in lower case. */
void mb_http_push_lower(lua_State *L, struct mb_span text);

/* Methods of the input object; see http_fields.c. */
int mb_http_input_field(lua_State *L);
int mb_http_input_fields(lua_State *L);
int mb_http_input_cookies(lua_State *L);

/* Functions of the module's table; see http_fields.c. */
int mb_http_form(lua_State *L);
int mb_http_input_form(lua_State *L);
int mb_http_list(lua_State *L);
int mb_http_counter(lua_State *L);
int mb_http_pattern(lua_State *L);

#endif
