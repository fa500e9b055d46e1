/* The methods of the input object that give Lua the content of a request body. */
#include "api/http/http_body.h"

#include <lauxlib.h>
#include <string.h>

#include "api/http/http_content.h"
#include "api/http/http_fields.h"
#include "api/http/http_input.h"
#include "socket/handle_methods.h"
#include "state/state.h"

/* A buffer up to this size keeps its memory for the next pieces. */
#define LARGE_BYTES (4 * MB_HTTP_RECEIVE_BYTES)

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

static int push_state(lua_State *L, struct mb_http_input *in, enum mb_http_content state,
                      const struct mb_http_piece *piece) {
  if (state == MB_HTTP_CONTENT_REFUSED) return mb_http_push_refusal(L, &in->refusal);
  if (state == MB_HTTP_CONTENT_FAILED) return mb_http_push_failure(L, piece->error);
  lua_pushnil(L);
  if (state == MB_HTTP_CONTENT_END) {
    lua_pushliteral(L, "end");
    return 2;
  }
  lua_pushliteral(L, "block");
  lua_pushboolean(L, in->moved);
  in->moved = false;
  return 3;
}

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
  struct mb_http_piece piece;
  enum mb_http_content state = mb_http_content_next(L, in, lua_toboolean(L, 3), &piece);
  if (state != MB_HTTP_CONTENT_BYTES) return push_state(L, in, state, &piece);
  size_t size = piece.span.size < most ? piece.span.size : most;
  if (piece.stashed && size == mb_buf_len(&in->stash)) {
    fit_large(in, &in->stash);
    piece.span.data = mb_buf_bytes(&in->stash);
  }
  mb_http_content_take(in, &piece, size);
  lua_pushlstring(L, piece.span.data, size);
  if (piece.stashed && mb_buf_len(&in->stash) == 0) free_large(in, &in->stash);
  return 1;
}

/*
 * input:stash()
 * Receives the content that is there and keeps it for later. Stops after MB_HTTP_RECEIVE_BYTES, as a fast client
 * could go on for ever.
 * Returns how many bytes the stash holds, if there was content; otherwise the same as read.
 */
int mb_http_input_stash(lua_State *L) {
  struct mb_http_input *in = open_input(L);
  size_t before = mb_buf_len(&in->stash);
  struct mb_http_piece piece;
  enum mb_http_content state;
  do {
    state = mb_http_content_receive(L, in, &piece);
    if (state == MB_HTTP_CONTENT_BYTES) mb_http_content_stash(L, in, &piece);
  } while (state == MB_HTTP_CONTENT_BYTES &&
           mb_buf_len(&in->stash) - before < MB_HTTP_RECEIVE_BYTES);
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
  struct mb_http_piece piece;
  enum mb_http_content state = mb_http_content_next(L, in, false, &piece);
  if (state != MB_HTTP_CONTENT_BYTES) return push_state(L, in, state, &piece);
  mb_http_content_take(in, &piece, piece.span.size);
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
    mb_http_content_refuse(in, 400, "multipart/form-data without a valid boundary");
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
      mb_http_content_refuse(in, m->refusal.status, m->refusal.why);
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
    struct mb_http_piece piece;
    enum mb_http_content state = mb_http_content_next(L, in, false, &piece);
    if (state == MB_HTTP_CONTENT_END && !mb_multipart_is_closed(&in->parts->reader)) {
      state = mb_http_content_refuse(in, 400, "multipart/form-data without its closing delimiter");
    }
    if (state != MB_HTTP_CONTENT_BYTES) return push_state(L, in, state, &piece);
    struct mb_span rest = piece.span;
    if (rest.size > most) rest.size = most;
    size_t offered = rest.size;
    if (keep && reserve_value(L, in, offered)) {
      mb_handle_check_open(L, in->handle);
      continue; /* a finalizer may have read from the socket */
    }
    enum mb_multipart_event event = mb_multipart_next(&in->parts->reader, &rest);
    mb_http_content_take(in, &piece, offered - rest.size);
    int results = push_event(L, in, event, most, keep);
    if (results > 0) return results;
  }
}
