/*
 * The content of a request body, without its framing: finds the next piece, in what the client has sent or in the
 * stash. Never waits.
 */
#ifndef MB_HTTP_CONTENT_H
#define MB_HTTP_CONTENT_H

#include "api/http/http_input.h"

/* One receive asks for this many bytes, or for the rest of a body with a length if that is less. */
#define MB_HTTP_RECEIVE_BYTES 65536

enum mb_http_content {
  MB_HTTP_CONTENT_BYTES,
  MB_HTTP_CONTENT_END,
  MB_HTTP_CONTENT_BLOCK,
  MB_HTTP_CONTENT_REFUSED, /* in->refusal says why; final */
  MB_HTTP_CONTENT_FAILED,  /* an error of the connection */
};

/* Content in its place: in the stash, or in the handle's buffer. */
struct mb_http_piece {
  struct mb_span span;
  bool stashed;
  int error; /* -errno of MB_HTTP_CONTENT_FAILED */
};

/* Refuses the rest of the body. Returns MB_HTTP_CONTENT_REFUSED. */
enum mb_http_content mb_http_content_refuse(struct mb_http_input *in, int status, const char *why);

/*
 * Returns whether the request body is refused, or will be, as far as it has been received: then no other
 * request can follow. Takes no bytes: what comes before the fault can still be read.
 */
bool mb_http_content_foresees_refusal(struct mb_http_input *in);

/*
 * Finds the next content from the client; receives when the buffer holds none. Throws when memory runs out.
 */
enum mb_http_content mb_http_content_receive(lua_State *L, struct mb_http_input *in,
                                             struct mb_http_piece *ret);

/*
 * Finds the next content: first the stash, then what the client sends. Joins small chunks in the stash, as
 * a string for each would cost many times its size. Throws when memory runs out.
 * apart  true: chunks are not joined, except those already in the stash
 */
enum mb_http_content mb_http_content_next(lua_State *L, struct mb_http_input *in, bool apart,
                                          struct mb_http_piece *ret);

/*
 * Takes `count` bytes of the piece. The bytes stay valid until the buffer is used again: the caller copies
 * them before anything else runs.
 */
void mb_http_content_take(struct mb_http_input *in, const struct mb_http_piece *piece,
                          size_t count);

/* Moves a received piece to the stash. Throws when memory runs out. */
void mb_http_content_stash(lua_State *L, struct mb_http_input *in,
                           const struct mb_http_piece *piece);

#endif
