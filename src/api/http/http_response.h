/*
 * The response to one request: status, header fields and body, framed. Its states only move forward. These
 * methods of the request object are in C because every response runs through them; when they have to wait
 * for the client, they call mb.http.wire.
 */
#ifndef MB_HTTP_RESPONSE_H
#define MB_HTTP_RESPONSE_H

#include <lua.h>

/*
 * core.response(is_head, minor, keepalive, minimum, socket)
 * Returns a response to a request of HTTP/1.minor, for the field _response of the request. is_head: the
 * method is HEAD; keepalive: the client keeps the connection; minimum: bytes of body that are gathered before
 * they are sent.
 */
int mb_http_response_new(lua_State *L);

/* Pushes a table with the methods of the request object that a plain response needs. */
int mb_http_response_methods(lua_State *L);

/* core.date(): returns the Date field line for now, with CR LF. */
int mb_http_response_date(lua_State *L);

/* Registers the type. May throw. */
void mb_http_response_open(lua_State *L);

#endif
