/*
 * Output of a response: the gathered bytes go, framed, into the socket's queue and to the client. As in
 * http_response_state.h, the request is at index 1 of the stack, its response at index 2.
 *
 * A function that may wait for the client has an argument
 * then  the method goes on there if a stream handler, which is called during the wait, yields: the function
 *       does not return then. mb_http_response_nothing_more when the method ends there.
 */
#ifndef MB_HTTP_RESPONSE_OUTPUT_H
#define MB_HTTP_RESPONSE_OUTPUT_H

#include "api/http/http_response_state.h"
#include "socket/handle.h"

/*
 * Sends the gathered bytes, and a string after them; both are one chunk if the body is chunked.
 * data   index of the string, or 0
 * flush  true: waits until nothing is queued
 * next   the state that follows when no step can fail any more; MB_HTTP_RESPONSE_FINISHED ends the body
 */
void mb_http_response_emit(lua_State *L, struct mb_http_response *r, int data, bool flush,
                           unsigned next, lua_KFunction then);

/* The same for a body that goes on. If the head was not sent yet, ends it for a body of unknown size. */
void mb_http_response_emit_body(lua_State *L, struct mb_http_response *r, int data, bool flush,
                                lua_KFunction then);

/* Waits until at most `most` bytes are queued. */
void mb_http_response_drain(lua_State *L, lua_Integer most, lua_KFunction then);

/* Ends a method that returns nothing. */
int mb_http_response_nothing_more(lua_State *L, int status, lua_KContext ctx);

/* Ends a method that has handed the last byte of a response to the system: the request log gets its line. */
int mb_http_response_handed_over(lua_State *L, int status, lua_KContext ctx);

/* Queues bytes as they are. Collects garbage when memory runs out, and throws when that does not help. */
void mb_http_response_queue(lua_State *L, struct mb_handle *h, const char *bytes, size_t size);

/* Adds to the gathered bytes. Throws when memory runs out. */
void mb_http_response_append(lua_State *L, struct mb_buf *to, const char *text, size_t size);
void mb_http_response_append_text(lua_State *L, struct mb_buf *to, const char *text);

/* Frees the gathered bytes now, as the garbage collector does not see their size. */
void mb_http_response_free_gathered(lua_State *L, struct mb_http_response *r);

#endif
