/* Finds the content of a request body, behind its framing. */
#include "api/http/http_content.h"

#include <errno.h>
#include <string.h>

#include "socket/handle_methods.h"
#include "state/state.h"

/* Chunks are joined up to this size. */
#define JOINED_BYTES 4096

static const char too_large[] = "the request body is too large";

enum mb_http_content mb_http_content_refuse(struct mb_http_input *in, int status, const char *why) {
  in->refused = true;
  in->refusal = (struct mb_http_refusal){status, why};
  return MB_HTTP_CONTENT_REFUSED;
}

/* Finds the received content of a body with a length. */
static enum mb_http_content find_by_length(struct mb_http_input *in, struct mb_span *ret) {
  const struct mb_buf *received = &in->handle->in;
  size_t len = mb_buf_len(received);
  if (in->head.length > in->body_limit) return mb_http_content_refuse(in, 413, too_large);
  if (len == 0) return MB_HTTP_CONTENT_BLOCK;
  *ret = (struct mb_span){mb_buf_bytes(received), len < in->left ? len : (size_t)in->left};
  return MB_HTTP_CONTENT_BYTES;
}

static enum mb_http_content find_chunked(struct mb_http_input *in, struct mb_span *ret) {
  struct mb_buf *received = &in->handle->in;
  size_t framing, content;
  if (mb_buf_len(received) == 0) return MB_HTTP_CONTENT_BLOCK;
  if (!mb_http_chunked_next(&in->chunked, mb_buf_bytes(received), mb_buf_len(received), &framing,
                            &content, &in->refusal)) {
    return mb_http_content_refuse(in, in->refusal.status, in->refusal.why);
  }
  mb_buf_take(received, framing);
  if (mb_http_chunked_ended(&in->chunked)) {
    in->ended = true;
    return MB_HTTP_CONTENT_END;
  }
  if (content == 0) return MB_HTTP_CONTENT_BLOCK;
  if (content > in->body_limit - in->received) return mb_http_content_refuse(in, 413, too_large);
  *ret = (struct mb_span){mb_buf_bytes(received), content};
  return MB_HTTP_CONTENT_BYTES;
}

bool mb_http_content_foresees_refusal(struct mb_http_input *in) {
  const struct mb_buf *received = &in->handle->in;
  struct mb_span rest = {mb_buf_bytes(received), mb_buf_len(received)};
  struct mb_http_chunked chunked = in->chunked; /* a copy, which reads ahead */
  uint64_t left = in->body_limit - in->received;
  if (in->refused || in->ended || in->head.framing != MB_HTTP_CHUNKED) return in->refused;
  while (rest.size > 0 && !mb_http_chunked_ended(&chunked) && !in->foreseen) {
    struct mb_http_refusal refusal;
    size_t framing, content;
    if (!mb_http_chunked_next(&chunked, rest.data, rest.size, &framing, &content, &refusal)) {
      in->foreseen = refusal.why;
    } else if (content > left) {
      in->foreseen = too_large;
    } else {
      mb_http_chunked_take(&chunked, content);
      mb_http_take(&rest, framing + content);
      left -= content;
    }
  }
  return in->foreseen;
}

enum mb_http_content mb_http_content_receive(lua_State *L, struct mb_http_input *in,
                                             struct mb_http_piece *ret) {
  struct mb_handle *h = in->handle;
  bool chunked = in->head.framing == MB_HTTP_CHUNKED;
  ret->stashed = false;
  for (;;) {
    if (in->refused) return MB_HTTP_CONTENT_REFUSED;
    if (in->ended) return MB_HTTP_CONTENT_END;
    enum mb_http_content found =
        chunked ? find_chunked(in, &ret->span) : find_by_length(in, &ret->span);
    if (found != MB_HTTP_CONTENT_BLOCK) return found;
    size_t wanted =
        !chunked && in->left < MB_HTTP_RECEIVE_BYTES ? (size_t)in->left : MB_HTTP_RECEIVE_BYTES;
    ssize_t n = mb_handle_receive(L, h, wanted, false);
    if (n == -EAGAIN) return MB_HTTP_CONTENT_BLOCK;
    if (n == 0) return mb_http_content_refuse(in, 400, "the request body ended early");
    if (n < 0) {
      ret->error = (int)n;
      return MB_HTTP_CONTENT_FAILED;
    }
    in->moved = true;
    in->count += (uint64_t)n;
  }
}

void mb_http_content_take(struct mb_http_input *in, const struct mb_http_piece *piece,
                          size_t count) {
  if (piece->stashed) {
    mb_buf_take(&in->stash, count);
    return;
  }
  mb_buf_take(&in->handle->in, count);
  in->received += count;
  if (in->head.framing == MB_HTTP_CHUNKED) {
    mb_http_chunked_take(&in->chunked, count);
    return;
  }
  in->left -= count;
  if (in->left == 0) in->ended = true;
}

void mb_http_content_stash(lua_State *L, struct mb_http_input *in,
                           const struct mb_http_piece *piece) {
  size_t room, size = piece->span.size;
  if (mb_state_reserve(L, &in->stash, size)) {
    mb_handle_check_open(L, in->handle);
    return; /* a finalizer may have read from the socket, so the caller looks at it anew */
  }
  memcpy(mb_buf_room(&in->stash, &room), piece->span.data, size);
  mb_buf_added(&in->stash, size);
  mb_http_content_take(in, piece, size);
}

enum mb_http_content mb_http_content_next(lua_State *L, struct mb_http_input *in, bool apart,
                                          struct mb_http_piece *ret) {
  if (apart && mb_buf_len(&in->stash) == 0) return mb_http_content_receive(L, in, ret);
  while (mb_buf_len(&in->stash) < JOINED_BYTES) {
    enum mb_http_content state = mb_http_content_receive(L, in, ret);
    bool small = state == MB_HTTP_CONTENT_BYTES && in->head.framing == MB_HTTP_CHUNKED &&
                 ret->span.size < JOINED_BYTES;
    if (mb_buf_len(&in->stash) == 0 && !small) return state;
    if (!small) break;
    mb_http_content_stash(L, in, ret);
  }
  ret->span = (struct mb_span){mb_buf_bytes(&in->stash), mb_buf_len(&in->stash)};
  ret->stashed = true;
  return MB_HTTP_CONTENT_BYTES;
}
