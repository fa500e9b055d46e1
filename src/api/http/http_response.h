/*
 * The response of one request: status, header fields and body, framed. Its states only move forward.
 * Methods of the request object, in C as every response runs through them; what has to wait for the
 * client calls mb.http.wire.
 */
#ifndef MB_HTTP_RESPONSE_H
#define MB_HTTP_RESPONSE_H

#include <lua.h>

/*
 * core.response(is_head, minor, keepalive, minimum)
 * A response to a request of HTTP/1.minor. is_head: the method is HEAD; keepalive: the client keeps
 * the connection; minimum: bytes of body that are gathered before they are sent.
 * Returns the object; it belongs into the field _response of a request.
 */
int mb_http_response_new(lua_State *L);

/* Pushes the table of the request object's methods: all that is needed for a plain response. */
int mb_http_response_methods(lua_State *L);

/* core.date(): returns the field line of the current date, with CR LF. */
int mb_http_date(lua_State *L);

/* Registers the type. May throw. */
void mb_http_response_open(lua_State *L);

#endif
