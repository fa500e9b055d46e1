/* Gives Lua the content of a request body: in pieces or as form parts; keeps it for later, or discards it. */
#ifndef MB_HTTP_BODY_H
#define MB_HTTP_BODY_H

#include <lua.h>

#include "http/http_head.h"

/*
 * Pushes nil, "refused", status, reason; or nil, "failed", errno, message for an error r < 0.
 * Returns 4.
 */
int mb_http_push_refusal(lua_State *L, const struct mb_http_refusal *refusal);
int mb_http_push_failure(lua_State *L, int r);

/* Methods of the input object; see http_body.c. */
int mb_http_input_read(lua_State *L);
int mb_http_input_stash(lua_State *L);
int mb_http_input_discard(lua_State *L);
int mb_http_input_multipart(lua_State *L);
int mb_http_input_part(lua_State *L);

#endif
