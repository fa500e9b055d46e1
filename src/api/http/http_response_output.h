/*
 * The way out of a response: what was gathered, framed, into the socket's queue and to the client. As
 * in http_response_state.h, the request is at index 1 of the stack, its response at index 2.
 *
 * What may wait for the client takes an argument
 * then  what the method goes on with: while it waits, stream handlers are called, which may yield, and
 *       then it does not return; mb_response_nothing_more when the method ends there
 */
#ifndef MB_HTTP_RESPONSE_OUTPUT_H
#define MB_HTTP_RESPONSE_OUTPUT_H

#include "socket/handle.h"
#include "api/http/http_response_state.h"

/*
 * Sends what was gathered, and a string behind it, as a chunk where the body is chunked.
 * data   index of the string, or 0
 * flush  nothing stays queued
 * next   the state that follows, once nothing can get lost any more; the body ends with
 *        MB_RESPONSE_FINISHED
 */
void mb_response_emit(lua_State *L, struct mb_response *r, int data, bool flush, unsigned next,
                      lua_KFunction then);

/* The same for a body that goes on; ends the head, where it was not sent yet, for an unknown size. */
void mb_response_emit_body(lua_State *L, struct mb_response *r, int data, bool flush,
                           lua_KFunction then);

/* Waits until no more than so many bytes are queued. */
void mb_response_drain(lua_State *L, lua_Integer most, lua_KFunction then);

/* A method that returns nothing. */
int mb_response_nothing_more(lua_State *L, int status, lua_KContext ctx);

/* Queues bytes as they are. Throws when memory runs out, after garbage was collected. */
void mb_response_queue(lua_State *L, struct mb_handle *h, const char *bytes, size_t size);

/* Adds to what is gathered. Throws when memory runs out. */
void mb_response_append(lua_State *L, struct mb_buf *to, const char *text, size_t size);
void mb_response_append_text(lua_State *L, struct mb_buf *to, const char *text);

/* Frees what was gathered. Not left to the collector, which does not see its size. */
void mb_response_free_gathered(lua_State *L, struct mb_response *r);

#endif
