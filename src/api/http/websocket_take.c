/* Takes messages from what a WebSocket has received. Never waits. */
#include <string.h>

#include "api/http/websocket.h"
#include "socket/handle_methods.h"
#include "state/state.h"

/* A message in so many frames is an attack: each may be empty, so that no limit on bytes counts them. */
enum { FRAGMENTS_MAX = 65536 };

/* A buffer that is larger than this gives its memory back after its message. */
enum { KEEP_MAX_BYTES = 64 * 1024 };

/* So much of a compressed message gets its mask off at once. */
enum { PIECE_BYTES = 4096 };

/* Of a frame with so much before it in its message, the rest gets room at once. */
enum { WHOLE_MIN_BYTES = 1024 * 1024 };

/* With so much in the queue, the peer does not read; it gets no more pongs until it does. */
enum { PONG_QUEUE_MAX = 4096 };

enum outcome { WHOLE, SHORT, BROKEN, AGAIN };

static const char too_large[] = "a message of more than max_message bytes";
static const char not_utf8[] = "a text that is no UTF-8";

static enum outcome broken(lua_State *L, struct mb_websocket *w, unsigned code, const char *why) {
  mb_websocket_break(L, w, code, why);
  return BROKEN;
}

/* Checks the head of a frame against the message that has begun. */
static enum outcome check(lua_State *L, struct mb_websocket *w,
                          const struct mb_websocket_frame *f) {
  if (mb_websocket_is_control(f->opcode)) return WHOLE;
  if (f->opcode == MB_WEBSOCKET_CONTINUATION && !w->opcode)
    return broken(L, w, MB_WEBSOCKET_PROTOCOL_ERROR, "a continuation of no message");
  if (f->opcode != MB_WEBSOCKET_CONTINUATION && w->opcode)
    return broken(L, w, MB_WEBSOCKET_PROTOCOL_ERROR, "a message within a message");
  bool compressed = w->opcode ? w->compressed : f->compressed; /* the head says no size then */
  if (!compressed &&
      (f->length > w->max_message || mb_buf_len(&w->message) > w->max_message - f->length))
    return broken(L, w, MB_WEBSOCKET_TOO_LARGE, too_large);
  if (++w->fragments > FRAGMENTS_MAX)
    return broken(L, w, MB_WEBSOCKET_PROTOCOL_ERROR, "a message in too many fragments");
  return WHOLE;
}

/* Reads the head of the next frame. */
static enum outcome begin_frame(lua_State *L, struct mb_websocket *w) {
  struct mb_buf *in = &w->over.handle->in;
  struct mb_websocket_frame frame;
  const char *wrong;
  int size = mb_websocket_parse(mb_buf_bytes(in), mb_buf_len(in), !w->is_client, w->deflates,
                                &frame, &wrong);
  if (size == 0) return SHORT;
  if (size < 0) return broken(L, w, MB_WEBSOCKET_PROTOCOL_ERROR, wrong);
  enum outcome outcome = check(L, w, &frame);
  if (outcome != WHOLE) return outcome;
  mb_buf_take(in, (size_t)size);
  w->frame = frame;
  w->left = frame.length;
  w->control_size = 0;
  w->in_frame = true;
  if (!mb_websocket_is_control(frame.opcode) && !w->opcode) {
    w->opcode = frame.opcode;
    w->utf8 = (struct mb_utf8){0};
    w->compressed = frame.compressed;
    w->tail = 0;
  }
  return WHOLE;
}

/* Copies n bytes of payload from the handle's buffer, and takes their mask off. */
static void copy(const struct mb_websocket *w, char *to, size_t n) {
  const char *from = mb_buf_bytes(&w->over.handle->in);
  if (w->frame.masked) {
    mb_websocket_mask(to, from, n, w->frame.mask, w->frame.length - w->left);
  } else if (n > 0) {
    memcpy(to, from, n);
  }
}

/* Takes n bytes of payload out of the handle's buffer. */
static void drop(struct mb_websocket *w, size_t n) {
  mb_buf_take(&w->over.handle->in, n);
  w->left -= n;
}

static void move(struct mb_websocket *w, char *to, size_t n) {
  copy(w, to, n);
  drop(w, n);
}

/* Returns how many bytes of the frame's payload are in the handle's buffer. */
static size_t there(const struct mb_websocket *w) {
  size_t n = mb_buf_len(&w->over.handle->in);
  return n < w->left ? n : (size_t)w->left;
}

/*
 * Makes room for the n bytes that are there. A head alone costs a peer nothing; but once much of a message has come,
 * the rest of a frame gets room at once, of which no page is used before something is in it. Returns whether finalizers
 * of the script may have run: one may have received, or have closed the socket. Throws when memory runs out.
 */
static bool make_room(lua_State *L, struct mb_websocket *w, size_t n) {
  size_t room;
  mb_buf_room(&w->message, &room);
  if (room >= n) return false;
  if (mb_buf_len(&w->message) < WHOLE_MIN_BYTES || w->left > PTRDIFF_MAX)
    return mb_state_reserve(L, &w->message, n);
  if (mb_state_reserve(L, &w->message, (size_t)w->left)) return true;
  /* Messages that the script has dropped give their memory to this one, when they are most of what there is. */
  if (w->left / 1024 * 4 < (uint64_t)lua_gc(L, LUA_GCCOUNT, 0)) return false;
  lua_gc(L, LUA_GCCOLLECT, 0);
  return true;
}

/* Takes payload of a message. */
static enum outcome take_content(lua_State *L, struct mb_websocket *w) {
  size_t n = there(w), room;
  if (n > 0) {
    if (make_room(L, w, n)) return AGAIN;
    char *to = mb_buf_room(&w->message, &room);
    if (n > room) n = room;
    move(w, to, n);
    mb_buf_added(&w->message, n);
    if (w->opcode == MB_WEBSOCKET_TEXT && !mb_utf8_take(&w->utf8, to, n))
      return broken(L, w, MB_WEBSOCKET_BAD_DATA, not_utf8);
  }
  return w->left == 0 ? WHOLE : SHORT;
}

/*
 * Decompresses a piece of a message, and checks what comes of it.
 * ret_used  gets how many bytes were used
 */
static enum outcome take_piece(lua_State *L, struct mb_websocket *w, const char *data, size_t size,
                               size_t *ret_used) {
  size_t made;
  enum mb_websocket_inflated inflated = mb_websocket_inflate(L, w, data, size, ret_used, &made);
  if (inflated == MB_WEBSOCKET_DISTURBED) return AGAIN;
  if (inflated == MB_WEBSOCKET_NO_DEFLATE)
    return broken(L, w, MB_WEBSOCKET_BAD_DATA, "a message that cannot be decompressed");
  size_t len = mb_buf_len(&w->message);
  if (len > w->max_message) return broken(L, w, MB_WEBSOCKET_TOO_LARGE, too_large);
  if (w->opcode == MB_WEBSOCKET_TEXT &&
      !mb_utf8_take(&w->utf8, mb_buf_bytes(&w->message) + (len - made), made))
    return broken(L, w, MB_WEBSOCKET_BAD_DATA, not_utf8);
  return WHOLE;
}

/* Takes payload of a compressed message, and the end that each has and that is not sent (RFC 7692, section 7.2.2). */
static enum outcome take_compressed(lua_State *L, struct mb_websocket *w) {
  static const char end[] = {0, 0, (char)0xff, (char)0xff};
  char piece[PIECE_BYTES];
  for (;;) {
    size_t n = there(w), used;
    enum outcome outcome;
    if (n > 0) {
      if (n > sizeof piece) n = sizeof piece;
      copy(w, piece, n);
      outcome = take_piece(L, w, piece, n, &used);
      if (outcome != WHOLE) return outcome;
      drop(w, used);
    } else if (w->left > 0) {
      return SHORT;
    } else if (w->frame.final && w->tail < sizeof end) {
      outcome = take_piece(L, w, end + w->tail, sizeof end - w->tail, &used);
      if (outcome != WHOLE) return outcome;
      w->tail = (unsigned char)(w->tail + used);
    } else {
      return WHOLE;
    }
  }
}

static enum outcome take_control(struct mb_websocket *w) {
  size_t n = there(w);
  move(w, w->control + w->control_size, n);
  w->control_size += n;
  return w->left == 0 ? WHOLE : SHORT;
}

/* ---- frames that are whole ---- */

static void send_pong(lua_State *L, struct mb_websocket *w) {
  if (!w->pong_wanted || w->sending || w->over.handle->out.len > PONG_QUEUE_MAX) return;
  w->pong_wanted = false;
  mb_websocket_send_control(L, w, MB_WEBSOCKET_PONG, w->pong, w->pong_size);
}

/* Remembers the last ping only: an older one needs no answer any more (RFC 6455, section 5.5.3). */
static enum outcome take_ping(lua_State *L, struct mb_websocket *w) {
  memcpy(w->pong, w->control, w->control_size);
  w->pong_size = w->control_size;
  w->pong_wanted = true;
  send_pong(L, w);
  return WHOLE;
}

/* The peer closes. It gets a close in answer, unless we have sent ours before. */
static enum outcome take_close(lua_State *L, struct mb_websocket *w) {
  const unsigned char *bytes = (const unsigned char *)w->control;
  unsigned code = MB_WEBSOCKET_NO_CODE;
  if (w->control_size == 1)
    return broken(L, w, MB_WEBSOCKET_PROTOCOL_ERROR, "a close with half a status code");
  if (w->control_size >= 2) {
    struct mb_utf8 utf8 = {0};
    code = (unsigned)bytes[0] << 8 | bytes[1];
    if (!mb_websocket_may_close_with(code))
      return broken(L, w, MB_WEBSOCKET_PROTOCOL_ERROR, "a close with an invalid status code");
    w->close_reason_size = w->control_size - 2;
    memcpy(w->close_reason, w->control + 2, w->close_reason_size);
    if (!mb_utf8_take(&utf8, w->close_reason, w->close_reason_size) || !mb_utf8_is_whole(&utf8)) {
      w->close_reason_size = 0;
      return broken(L, w, MB_WEBSOCKET_BAD_DATA, "a close whose reason is no UTF-8");
    }
  }
  bool open = w->state == MB_WEBSOCKET_OPEN;
  w->close_code = code;
  w->state = MB_WEBSOCKET_CLOSED; /* before a close is sent, which may throw */
  mb_websocket_deflate_end(w);
  if (open) mb_websocket_send_close(L, w, code, NULL, 0);
  return WHOLE;
}

static enum outcome end_control(lua_State *L, struct mb_websocket *w) {
  w->in_frame = false;
  if (w->frame.opcode == MB_WEBSOCKET_PING) return take_ping(L, w);
  if (w->frame.opcode == MB_WEBSOCKET_CLOSE) return take_close(L, w);
  return WHOLE;
}

/* Pushes a message and its kind. What it says of itself is over before: pushing may run the script's finalizers. */
static enum mb_websocket_taken push(lua_State *L, struct mb_websocket *w, struct mb_buf *from,
                                    size_t size) {
  const char *bytes = mb_buf_bytes(from);
  bool is_text = w->opcode == MB_WEBSOCKET_TEXT;
  mb_buf_take(from, size);
  w->in_frame = false;
  w->opcode = 0;
  w->fragments = 0;
  lua_pushlstring(L, bytes ? bytes : "", size);
  lua_pushstring(L, is_text ? "text" : "binary");
  if (mb_buf_len(&w->message) == 0 && w->message.capacity > KEEP_MAX_BYTES)
    mb_buf_free(&w->message, w->over.handle->alloc);
  return MB_WEBSOCKET_MESSAGE;
}

/* Returns whether the frame is a whole message, and all of it is in the handle's buffer. */
static bool is_message(const struct mb_websocket *w) {
  return w->frame.final && !w->compressed && w->frame.opcode != MB_WEBSOCKET_CONTINUATION &&
         w->left == w->frame.length && there(w) == w->left;
}

/* Takes a message of one frame where it lies. */
static enum mb_websocket_taken take_at_once(lua_State *L, struct mb_websocket *w) {
  struct mb_buf *in = &w->over.handle->in;
  size_t size = (size_t)w->left;
  char *bytes = size > 0 ? in->data + in->start : NULL;
  if (w->frame.masked) mb_websocket_mask(bytes, bytes, size, w->frame.mask, 0);
  if (w->opcode == MB_WEBSOCKET_TEXT &&
      (!mb_utf8_take(&w->utf8, bytes, size) || !mb_utf8_is_whole(&w->utf8))) {
    mb_websocket_break(L, w, MB_WEBSOCKET_BAD_DATA, not_utf8);
    return MB_WEBSOCKET_ENDED;
  }
  w->left = 0;
  return push(L, w, in, size);
}

static enum mb_websocket_taken end_message(lua_State *L, struct mb_websocket *w) {
  if (w->compressed && !mb_websocket_inflate_end(w)) {
    mb_websocket_break(L, w, MB_WEBSOCKET_BAD_DATA, "a compressed message without an end");
    return MB_WEBSOCKET_ENDED;
  }
  if (w->opcode == MB_WEBSOCKET_TEXT && !mb_utf8_is_whole(&w->utf8)) {
    mb_websocket_break(L, w, MB_WEBSOCKET_BAD_DATA, "a text that ends within a character");
    return MB_WEBSOCKET_ENDED;
  }
  return push(L, w, &w->message, mb_buf_len(&w->message));
}

enum mb_websocket_taken mb_websocket_take(lua_State *L, struct mb_websocket *w) {
  send_pong(L, w);
  while (w->state != MB_WEBSOCKET_CLOSED && mb_handle_is_open(w->over.handle)) {
    enum outcome outcome = w->in_frame ? WHOLE : begin_frame(L, w);
    if (outcome == BROKEN) return MB_WEBSOCKET_ENDED;
    if (outcome == SHORT) return MB_WEBSOCKET_NEEDS;
    bool control = mb_websocket_is_control(w->frame.opcode);
    if (!control && is_message(w)) return take_at_once(L, w);
    outcome = control         ? take_control(w)
              : w->compressed ? take_compressed(L, w)
                              : take_content(L, w);
    if (outcome == BROKEN) return MB_WEBSOCKET_ENDED;
    if (outcome == SHORT) return MB_WEBSOCKET_NEEDS;
    if (outcome == AGAIN) continue;
    if (control) {
      if (end_control(L, w) == BROKEN) return MB_WEBSOCKET_ENDED;
    } else if (w->frame.final) {
      return end_message(L, w);
    } else {
      w->in_frame = false;
    }
  }
  return MB_WEBSOCKET_ENDED;
}
