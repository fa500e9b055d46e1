/* The content of a request body, without its framing. */
#include "api/http/http_body.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "socket/handle_methods.h"
#include "state/state.h"
#include "api/http/http_fields.h"

/* What one receive asks for, where no length says less. */
#define RECEIVE_BYTES 65536

/* Chunks are joined up to this size. */
#define JOINED_BYTES 4096

enum content {
  CONTENT_BYTES,
  CONTENT_END,
  CONTENT_BLOCK,
  CONTENT_REFUSED, /* in->refusal says why; final */
  CONTENT_FAILED,  /* an error of the connection */
};

/* Content where it lies: in the stash, or in the handle's buffer. */
struct piece {
  struct mb_span span;
  bool stashed;
  int error; /* -errno of CONTENT_FAILED */
};

int mb_http_push_refusal(lua_State *L, const struct mb_http_refusal *refusal) {
  lua_pushnil(L);
  lua_pushliteral(L, "refused");
  lua_pushinteger(L, refusal->status);
  lua_pushstring(L, refusal->why);
  return 4;
}

int mb_http_push_failure(lua_State *L, int r) {
  lua_pushnil(L);
  lua_pushliteral(L, "failed");
  lua_pushinteger(L, -r);
  lua_pushstring(L, strerror(-r));
  return 4;
}

static int push_state(lua_State *L, struct mb_http_input *in, enum content state,
                      const struct piece *piece) {
  if (state == CONTENT_REFUSED) return mb_http_push_refusal(L, &in->refusal);
  if (state == CONTENT_FAILED) return mb_http_push_failure(L, piece->error);
  lua_pushnil(L);
  if (state == CONTENT_END) {
    lua_pushliteral(L, "end");
    return 2;
  }
  lua_pushliteral(L, "block");
  lua_pushboolean(L, in->moved);
  in->moved = false;
  return 3;
}

static enum content refuse(struct mb_http_input *in, int status, const char *why) {
  in->refused = true;
  in->refusal = (struct mb_http_refusal){status, why};
  return CONTENT_REFUSED;
}

static enum content too_large(struct mb_http_input *in) {
  return refuse(in, 413, "the request body is too large");
}

/* ---- framing ---- */

/* Content of a body with a length, among what has been received. */
static enum content find_by_length(struct mb_http_input *in, struct mb_span *ret) {
  const struct mb_buf *received = &in->handle->in;
  size_t len = mb_buf_len(received);
  if (in->head.length > in->body_limit) return too_large(in);
  if (len == 0) return CONTENT_BLOCK;
  *ret = (struct mb_span){mb_buf_bytes(received), len < in->left ? len : (size_t)in->left};
  return CONTENT_BYTES;
}

static enum content find_chunked(struct mb_http_input *in, struct mb_span *ret) {
  struct mb_buf *received = &in->handle->in;
  size_t framing, content;
  if (mb_buf_len(received) == 0) return CONTENT_BLOCK;
  if (!mb_http_chunked_next(&in->chunked, mb_buf_bytes(received), mb_buf_len(received), &framing,
                            &content, &in->refusal)) {
    return refuse(in, in->refusal.status, in->refusal.why);
  }
  mb_buf_take(received, framing);
  if (mb_http_chunked_ended(&in->chunked)) {
    in->ended = true;
    return CONTENT_END;
  }
  if (content == 0) return CONTENT_BLOCK;
  if (content > in->body_limit - in->received) return too_large(in);
  *ret = (struct mb_span){mb_buf_bytes(received), content};
  return CONTENT_BYTES;
}

/*
 * The next content that the client has sent; receives where there is none. May throw for want of
 * memory.
 */
static enum content next_received(lua_State *L, struct mb_http_input *in, struct piece *ret) {
  struct mb_handle *h = in->handle;
  bool chunked = in->head.framing == MB_HTTP_CHUNKED;
  ret->stashed = false;
  for (;;) {
    if (in->refused) return CONTENT_REFUSED;
    if (in->ended) return CONTENT_END;
    enum content found = chunked ? find_chunked(in, &ret->span) : find_by_length(in, &ret->span);
    if (found != CONTENT_BLOCK) return found;
    size_t wanted = !chunked && in->left < RECEIVE_BYTES ? (size_t)in->left : RECEIVE_BYTES;
    ssize_t n = mb_handle_receive(L, h, wanted, false);
    if (n == -EAGAIN) return CONTENT_BLOCK;
    if (n == 0) return refuse(in, 400, "the request body ended early");
    if (n < 0) {
      ret->error = (int)n;
      return CONTENT_FAILED;
    }
    in->moved = true;
  }
}

/*
 * Takes count bytes of the piece. The bytes stay where they are until the buffer is used again: they
 * are to be copied before anything else runs.
 */
static void take(struct mb_http_input *in, const struct piece *piece, size_t count) {
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

/* Moves a piece that was received to the stash. Throws for want of memory. */
static void stash(lua_State *L, struct mb_http_input *in, const struct piece *piece) {
  size_t room, size = piece->span.size;
  if (mb_state_reserve(L, &in->stash, size)) {
    mb_handle_check_open(L, in->handle);
    return; /* a finalizer may have read from the socket: the caller looks at it anew */
  }
  memcpy(mb_buf_room(&in->stash, &room), piece->span.data, size);
  mb_buf_added(&in->stash, size);
  take(in, piece, size);
}

/*
 * The next content: first what was stashed. Chunks that are small are joined in the stash: as
 * strings of their own they would cost many times their size.
 * apart  each chunk by itself, but for what is in the stash
 */
static enum content next_content(lua_State *L, struct mb_http_input *in, bool apart,
                                 struct piece *ret) {
  if (apart && mb_buf_len(&in->stash) == 0) return next_received(L, in, ret);
  while (mb_buf_len(&in->stash) < JOINED_BYTES) {
    enum content state = next_received(L, in, ret);
    bool small = state == CONTENT_BYTES && in->head.framing == MB_HTTP_CHUNKED &&
                 ret->span.size < JOINED_BYTES;
    if (mb_buf_len(&in->stash) == 0 && !small) return state;
    if (!small) break;
    stash(L, in, ret);
  }
  ret->span = (struct mb_span){mb_buf_bytes(&in->stash), mb_buf_len(&in->stash)};
  ret->stashed = true;
  return CONTENT_BYTES;
}

/* ---- methods ---- */

/* A stash that is empty again keeps no more memory than the next pieces need. */
static void free_large_stash(struct mb_http_input *in) {
  if (in->stash.capacity > RECEIVE_BYTES) mb_buf_free(&in->stash, in->handle->alloc);
}

/* The object, while its socket is open: throws else. */
static struct mb_http_input *open_input(lua_State *L) {
  struct mb_http_input *in = mb_http_input_at(L, 1);
  mb_handle_check_open(L, in->handle);
  in->handle->in_short = false;
  return in;
}

static size_t check_most(lua_State *L) {
  lua_Integer most = luaL_checkinteger(L, 2);
  luaL_argcheck(L, most > 0, 2, "expected a positive number of bytes");
  return (size_t)most;
}

/*
 * input:read(most, apart)
 * The next piece of content, at most so many bytes. apart: chunks are not joined.
 * Returns it; or nil and "block", moved (whether something has been received since it was last said);
 * "end"; "refused", status, reason; or "failed", errno, message.
 */
int mb_http_input_read(lua_State *L) {
  struct mb_http_input *in = open_input(L);
  size_t most = check_most(L);
  struct piece piece;
  enum content state = next_content(L, in, lua_toboolean(L, 3), &piece);
  if (state != CONTENT_BYTES) return push_state(L, in, state, &piece);
  size_t size = piece.span.size < most ? piece.span.size : most;
  take(in, &piece, size);
  lua_pushlstring(L, piece.span.data, size);
  if (piece.stashed && mb_buf_len(&in->stash) == 0) free_large_stash(in);
  return 1;
}

/*
 * input:stash()
 * Receives content and keeps it for later: what is there, but not without end. Returns how many bytes
 * are kept when there was some, or as read does.
 */
int mb_http_input_stash(lua_State *L) {
  struct mb_http_input *in = open_input(L);
  size_t before = mb_buf_len(&in->stash);
  struct piece piece;
  enum content state;
  do {
    state = next_received(L, in, &piece);
    if (state == CONTENT_BYTES) stash(L, in, &piece);
  } while (state == CONTENT_BYTES && mb_buf_len(&in->stash) - before < RECEIVE_BYTES);
  if (mb_buf_len(&in->stash) == before) return push_state(L, in, state, &piece);
  lua_pushinteger(L, (lua_Integer)mb_buf_len(&in->stash));
  return 1;
}

/*
 * input:discard()
 * Drops content. Returns true when there was some, or as read does.
 */
int mb_http_input_discard(lua_State *L) {
  struct mb_http_input *in = open_input(L);
  struct piece piece;
  enum content state = next_content(L, in, false, &piece);
  if (state != CONTENT_BYTES) return push_state(L, in, state, &piece);
  take(in, &piece, piece.span.size);
  lua_pushboolean(L, 1);
  return 1;
}

/*
 * input:multipart()
 * Reads the body as multipart/form-data from now on. Returns true, false when it is something else,
 * or nil, "refused", status, reason.
 */
int mb_http_input_multipart(lua_State *L) {
  struct mb_http_input *in = open_input(L);
  const struct mb_http_field *type = mb_http_head_field(&in->head, "content-type");
  char boundary[MB_MULTIPART_BOUNDARY_MAX];
  int size = type ? mb_multipart_boundary(type->value, boundary) : 0;
  if (size < 0) {
    refuse(in, 400, "multipart/form-data without a valid boundary");
    return mb_http_push_refusal(L, &in->refusal);
  }
  if (size > 0 && !in->multipart) {
    bool collected;
    in->multipart = mb_state_block(L, NULL, 0, sizeof *in->multipart, &collected);
    mb_multipart_init(in->multipart, (struct mb_span){boundary, (size_t)size});
    if (collected) mb_handle_check_open(L, in->handle);
  }
  lua_pushboolean(L, size > 0);
  return 1;
}

/*
 * Pushes the content that is held, at most so many bytes. It is more when bytes that were taken for
 * the begin of a delimiter turn out to be none.
 */
static int push_held(lua_State *L, struct mb_http_input *in, size_t most) {
  struct mb_span held = in->held;
  if (held.size > most) held.size = most;
  in->held.data += held.size;
  in->held.size -= held.size;
  lua_pushlstring(L, held.data, held.size);
  lua_pushliteral(L, "data");
  lua_insert(L, -2);
  return 2;
}

/* Pushes an event for the script; returns 0 when it is none for it. */
static int push_event(lua_State *L, struct mb_http_input *in, enum mb_multipart_event event,
                      size_t most) {
  const struct mb_multipart *m = in->multipart;
  struct mb_span file_name = m->file_name, type = m->content_type;
  switch (event) {
    case MB_MULTIPART_PART:
      lua_pushliteral(L, "part");
      mb_http_push_span(L, m->name);
      mb_http_push_span(L, file_name);
      mb_http_push_span(L, type);
      return 4;
    case MB_MULTIPART_DATA:
      in->held = m->data;
      return push_held(L, in, most);
    case MB_MULTIPART_END:
      lua_pushliteral(L, "part end");
      return 1;
    case MB_MULTIPART_REFUSED:
      refuse(in, m->refusal.status, m->refusal.why);
      return mb_http_push_refusal(L, &in->refusal);
    default:
      return 0;
  }
}

/*
 * input:part(most)
 * The next event of a multipart body.
 * Returns "part", name, file name (nil: none), content type (nil: none); "data", content of at most
 * so many bytes; "part end"; or as read does.
 */
int mb_http_input_part(lua_State *L) {
  struct mb_http_input *in = open_input(L);
  size_t most = check_most(L);
  luaL_argcheck(L, in->multipart, 1, "not read as multipart/form-data");
  if (in->held.size > 0) return push_held(L, in, most);
  for (;;) {
    struct piece piece;
    enum content state = next_content(L, in, false, &piece);
    if (state == CONTENT_END && !mb_multipart_is_closed(in->multipart)) {
      state = refuse(in, 400, "multipart/form-data without its closing delimiter");
    }
    if (state != CONTENT_BYTES) return push_state(L, in, state, &piece);
    struct mb_span rest = piece.span;
    if (rest.size > most) rest.size = most;
    size_t offered = rest.size;
    enum mb_multipart_event event = mb_multipart_next(in->multipart, &rest);
    take(in, &piece, offered - rest.size);
    int results = push_event(L, in, event, most);
    if (results > 0) return results;
  }
}
