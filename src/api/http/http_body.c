/* The content of a request body, without its framing. */
#include "api/http/http_body.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "api/http/http_fields.h"
#include "api/http/http_input.h"
#include "socket/handle_methods.h"
#include "state/state.h"

/* One receive asks for this many bytes, or for the rest of a body with a length if that is less. */
#define RECEIVE_BYTES 65536

/* A buffer up to this size keeps its memory for the next pieces. */
#define LARGE_BYTES (4 * RECEIVE_BYTES)

/* Chunks are joined up to this size. */
#define JOINED_BYTES 4096

static const char too_large[] = "the request body is too large";

enum content {
  CONTENT_BYTES,
  CONTENT_END,
  CONTENT_BLOCK,
  CONTENT_REFUSED, /* in->refusal says why; final */
  CONTENT_FAILED,  /* an error of the connection */
};

/* Content in its place: in the stash, or in the handle's buffer. */
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

/* ---- framing ---- */

/* Finds the received content of a body with a length. */
static enum content find_by_length(struct mb_http_input *in, struct mb_span *ret) {
  const struct mb_buf *received = &in->handle->in;
  size_t len = mb_buf_len(received);
  if (in->head.length > in->body_limit) return refuse(in, 413, too_large);
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
  if (content > in->body_limit - in->received) return refuse(in, 413, too_large);
  *ret = (struct mb_span){mb_buf_bytes(received), content};
  return CONTENT_BYTES;
}

bool mb_http_input_foresees_refusal(struct mb_http_input *in) {
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

/*
 * Finds the next content from the client; receives when the buffer holds none. Throws when memory runs out.
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
    in->count += (uint64_t)n;
  }
}

/*
 * Takes `count` bytes of the piece. The bytes stay valid until the buffer is used again: the caller copies
 * them before anything else runs.
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

/* Moves a received piece to the stash. Throws when memory runs out. */
static void stash(lua_State *L, struct mb_http_input *in, const struct piece *piece) {
  size_t room, size = piece->span.size;
  if (mb_state_reserve(L, &in->stash, size)) {
    mb_handle_check_open(L, in->handle);
    return; /* a finalizer may have read from the socket, so the caller looks at it anew */
  }
  memcpy(mb_buf_room(&in->stash, &room), piece->span.data, size);
  mb_buf_added(&in->stash, size);
  take(in, piece, size);
}

/*
 * Finds the next content: first the stash, then what the client sends. Joins small chunks in the stash, as
 * a string for each would cost many times its size.
 * apart  true: chunks are not joined, except those already in the stash
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

/* Frees the memory of an empty buffer when it is more than the next pieces need. */
static void free_large(struct mb_http_input *in, struct mb_buf *b) {
  if (b->capacity > LARGE_BYTES) mb_buf_free(b, in->handle->alloc);
}

/* Gives back what a buffer has more than its bytes need, before a string is made of them. */
static void fit_large(struct mb_http_input *in, struct mb_buf *b) {
  if (b->capacity > LARGE_BYTES) mb_buf_fit(b, in->handle->alloc);
}

/* Returns the object; throws when its socket is not open. */
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
 * Returns the next piece of content, at most `most` bytes; with `apart` chunks are not joined. Or returns
 * nil and
 *   "block", moved     nothing is there; moved: something was received since "block" was last returned
 *   "end"
 *   "refused", status, reason
 *   "failed", errno, message
 */
int mb_http_input_read(lua_State *L) {
  struct mb_http_input *in = open_input(L);
  size_t most = check_most(L);
  struct piece piece;
  enum content state = next_content(L, in, lua_toboolean(L, 3), &piece);
  if (state != CONTENT_BYTES) return push_state(L, in, state, &piece);
  size_t size = piece.span.size < most ? piece.span.size : most;
  if (piece.stashed && size == mb_buf_len(&in->stash)) {
    fit_large(in, &in->stash);
    piece.span.data = mb_buf_bytes(&in->stash);
  }
  take(in, &piece, size);
  lua_pushlstring(L, piece.span.data, size);
  if (piece.stashed && mb_buf_len(&in->stash) == 0) free_large(in, &in->stash);
  return 1;
}

/*
 * input:stash()
 * Receives the content that is there and keeps it for later. Stops after RECEIVE_BYTES, as a fast client
 * could go on for ever.
 * Returns how many bytes the stash holds, if there was content; otherwise the same as read.
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
 * Drops content. Returns true if there was some; otherwise the same as read.
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

static void begin_multipart(lua_State *L, struct mb_http_input *in, struct mb_span boundary) {
  void *block = NULL;
  size_t size = 0;
  if (mb_state_block(L, &block, &size, sizeof *in->parts) &&
      (in->parts || !mb_handle_is_open(in->handle))) {
    /* A finalizer has begun to read the body, or closed the socket. */
    mb_alloc(in->handle->alloc, block, size, 0);
    mb_handle_check_open(L, in->handle);
    return;
  }
  in->parts = block;
  in->parts->held.size = 0;
  in->parts->value = MB_BUF_INIT;
  mb_multipart_init(&in->parts->reader, boundary);
}

/*
 * input:multipart()
 * Reads the body as multipart/form-data from now on.
 * Returns true; false when the body is something else; or nil, "refused", status, reason.
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
  if (size > 0 && !in->parts) {
    begin_multipart(L, in, (struct mb_span){boundary, (size_t)size});
  }
  lua_pushboolean(L, size > 0);
  return 1;
}

/*
 * Pushes held content, at most `most` bytes. The held content can be longer than that: bytes that looked
 * like the beginning of a delimiter come out later, when they turn out to be content.
 */
static int push_held(lua_State *L, struct mb_http_input *in, size_t most) {
  struct mb_span held = in->parts->held;
  if (held.size > most) held.size = most;
  in->parts->held.data += held.size;
  in->parts->held.size -= held.size;
  lua_pushlstring(L, held.data, held.size);
  lua_pushliteral(L, "data");
  lua_insert(L, -2);
  return 2;
}

/* Keeps the data that has come, for which there is room. */
static int keep_data(lua_State *L, struct mb_http_input *in) {
  struct mb_span data = in->parts->reader.data;
  size_t room;
  memcpy(mb_buf_room(&in->parts->value, &room), data.data, data.size);
  mb_buf_added(&in->parts->value, data.size);
  lua_pushliteral(L, "kept");
  lua_pushinteger(L, (lua_Integer)data.size);
  return 2;
}

/* Pushes what was kept, and forgets it. */
static int push_kept(lua_State *L, struct mb_http_input *in) {
  lua_pushliteral(L, "part end");
  fit_large(in, &in->parts->value);
  lua_pushlstring(L, mb_buf_bytes(&in->parts->value), mb_buf_len(&in->parts->value));
  mb_buf_take(&in->parts->value, mb_buf_len(&in->parts->value));
  free_large(in, &in->parts->value);
  return 2;
}

/* Pushes an event. Returns the number of results; 0 when the event is not for the script. */
static int push_event(lua_State *L, struct mb_http_input *in, enum mb_multipart_event event,
                      size_t most, bool keep) {
  const struct mb_multipart *m = &in->parts->reader;
  struct mb_span file_name = m->file_name, type = m->content_type;
  switch (event) {
    case MB_MULTIPART_PART:
      lua_pushliteral(L, "part");
      mb_http_push_span(L, m->name);
      mb_http_push_span(L, file_name);
      mb_http_push_span(L, type);
      return 4;
    case MB_MULTIPART_DATA:
      if (keep) return keep_data(L, in);
      in->parts->held = m->data;
      return push_held(L, in, most);
    case MB_MULTIPART_END:
      if (keep) return push_kept(L, in);
      lua_pushliteral(L, "part end");
      return 1;
    case MB_MULTIPART_REFUSED:
      refuse(in, m->refusal.status, m->refusal.why);
      return mb_http_push_refusal(L, &in->refusal);
    default:
      return 0;
  }
}

/* Makes room for data of at most `size` bytes, and for what looked like a delimiter before it. */
static bool reserve_value(lua_State *L, struct mb_http_input *in, size_t size) {
  return mb_state_reserve(L, &in->parts->value, size + sizeof in->parts->reader.delimiter);
}

/*
 * input:part(most, keep)
 * Returns the next event of a multipart body: "part", name, file name (nil: none), content type (nil: none);
 * "data", content of at most `most` bytes; or "part end". Without an event it returns the same as read.
 * keep  the content of this part is wanted as one string: then "kept", how many bytes were added to it, comes
 *       in the place of "data", and "part end", content. That needs no more memory than twice the content.
 */
int mb_http_input_part(lua_State *L) {
  struct mb_http_input *in = open_input(L);
  size_t most = check_most(L);
  bool keep = lua_toboolean(L, 3);
  luaL_argcheck(L, in->parts, 1, "not read as multipart/form-data");
  if (in->parts->held.size > 0) return push_held(L, in, most);
  for (;;) {
    struct piece piece;
    enum content state = next_content(L, in, false, &piece);
    if (state == CONTENT_END && !mb_multipart_is_closed(&in->parts->reader)) {
      state = refuse(in, 400, "multipart/form-data without its closing delimiter");
    }
    if (state != CONTENT_BYTES) return push_state(L, in, state, &piece);
    struct mb_span rest = piece.span;
    if (rest.size > most) rest.size = most;
    size_t offered = rest.size;
    if (keep && reserve_value(L, in, offered)) {
      mb_handle_check_open(L, in->handle);
      continue; /* a finalizer may have read from the socket */
    }
    enum mb_multipart_event event = mb_multipart_next(&in->parts->reader, &rest);
    take(in, &piece, offered - rest.size);
    int results = push_event(L, in, event, most, keep);
    if (results > 0) return results;
  }
}
