/* The head of a response: status, header fields, framing. */
#ifndef MB_HTTP_RESPONSE_HEAD_H
#define MB_HTTP_RESPONSE_HEAD_H

#include "api/http/http_response_state.h"

/* Methods of the request. */
int mb_http_response_send_status(lua_State *L);
int mb_http_response_send_header(lua_State *L);

/*
 * Adds the fields that the script has left to us: the date, how the body is framed, whether the connection
 * goes on. Then ends the head.
 * size  of the whole body; NULL when it is not known yet
 */
void mb_http_response_end_head(lua_State *L, struct mb_http_response *r, const uint64_t *size);

/*
 * Returns whether the status forbids a body. A response to HEAD is not meant: its body is counted, but not
 * sent.
 */
bool mb_http_response_is_bodyless(const struct mb_http_response *r);

/*
 * Sends an interim response, which is a head alone; another response follows.
 * then  the method goes on there if a stream handler yields meanwhile; this function does not return then
 */
void mb_http_response_end_interim(lua_State *L, struct mb_http_response *r, lua_KFunction then);

#endif
