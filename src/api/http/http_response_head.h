/* The head of a response: status, header fields, framing. */
#ifndef MB_HTTP_RESPONSE_HEAD_H
#define MB_HTTP_RESPONSE_HEAD_H

#include "api/http/http_response_state.h"

/* Methods of the request. */
int mb_response_send_status(lua_State *L);
int mb_response_send_header(lua_State *L);

/*
 * Adds to the head what the script has not said: the date, how the body is framed, whether the
 * connection goes on.
 * size  of the whole body; NULL when that is not known yet
 */
void mb_response_end_head(lua_State *L, struct mb_response *r, const uint64_t *size);

/* Whether the response has no body, whatever a script sends. Those to HEAD are another matter. */
bool mb_response_is_bodyless(const struct mb_response *r);

/*
 * Sends an interim response, which is its head. The response itself is still to come.
 * then  what the method goes on with, should a stream handler yield meanwhile; then this does not
 *       return
 */
void mb_response_end_interim(lua_State *L, struct mb_response *r, lua_KFunction then);

#endif
