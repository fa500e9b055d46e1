/* websocket:send and its forms. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "api/http/websocket.h"
#include "base/clock.h"
#include "base/rare.h"
#include "socket/handle_methods.h"
#include "state/state.h"

/*
 * While the peer takes nothing, so much of what it sends is received at least, and a whole message of max_message
 * bytes: it may read only after it has sent everything. More waits in the system.
 */
enum { HELD_MIN_BYTES = 1 << 20 };

/* Payload up to this size is copied behind its head, and the two are sent together. */
enum { SMALL_BYTES = 16 * 1024 };

static bool takes_output(const struct mb_websocket *w) {
  const struct mb_handle *h = w->over.handle;
  return h->state == MB_HANDLE_OPEN && h->out_error == 0;
}

static bool can_send(const struct mb_websocket *w) { return takes_output(w) && !w->sending; }

/* A client's frames have masks that the peer cannot foresee (RFC 6455, section 5.3). */
static void choose_mask(lua_State *L, const struct mb_websocket *w,
                        struct mb_websocket_frame *frame) {
  if (!w->is_client) return;
  frame->masked = true;
  if (mb_rare_getrandom(frame->mask, sizeof frame->mask) != sizeof frame->mask)
    luaL_error(L, "websocket: getrandom: %s", strerror(errno));
}

void mb_websocket_send_control(lua_State *L, struct mb_websocket *w, uint8_t opcode,
                               const char *data, size_t size) {
  struct mb_websocket_frame frame = {.final = true, .opcode = opcode, .length = size};
  char bytes[MB_WEBSOCKET_HEAD_MAX + MB_WEBSOCKET_CONTROL_MAX];
  if (!can_send(w)) return;
  choose_mask(L, w, &frame);
  size_t head = mb_websocket_head(bytes, &frame);
  if (size > 0) memcpy(bytes + head, data, size);
  if (frame.masked) mb_websocket_mask(bytes + head, bytes + head, size, frame.mask, 0);
  if (mb_handle_queue(L, w->over.handle, bytes, head + size) < 0) mb_state_no_memory(L);
  mb_handle_set_nodelay(w->over.handle);
  mb_handle_send_queue(w->over.handle, false);
}

void mb_websocket_send_close(lua_State *L, struct mb_websocket *w, unsigned code,
                             const char *reason, size_t size) {
  char bytes[MB_WEBSOCKET_CONTROL_MAX];
  size_t length = 0;
  if (code != MB_WEBSOCKET_NO_CODE) {
    bytes[length++] = (char)(code >> 8);
    bytes[length++] = (char)code;
    if (size > 0) memcpy(bytes + length, reason, size);
    length += size;
  }
  if (w->state == MB_WEBSOCKET_OPEN) w->state = MB_WEBSOCKET_CLOSING;
  w->closing = mb_now_usec();
  mb_websocket_send_control(L, w, MB_WEBSOCKET_CLOSE, bytes, length);
}

/* ---- messages ---- */

static int push_failure(lua_State *L, struct mb_websocket *w) {
  const struct mb_handle *h = w->over.handle;
  int number = h->out_error;
  if (number) mb_websocket_lose(w, strerror(number));
  if (!mb_handle_is_open(h)) mb_websocket_lose(w, "the socket is closed");
  lua_pushnil(L);
  lua_pushstring(L, w->wrong[0]                     ? w->wrong
                    : takes_output(w) && w->sending ? "a message is half sent"
                                                    : "closed");
  if (!number) return 2;
  lua_pushinteger(L, number);
  return 3;
}

/* Reads the message at an index; throws when it is none. */
static const char *message_at(lua_State *L, int index, uint8_t opcode, size_t *ret_size) {
  struct mb_utf8 utf8 = {0};
  if (lua_type(L, index) != LUA_TSTRING && lua_type(L, index) != LUA_TNUMBER)
    luaL_argerror(L, index,
                  lua_pushfstring(L, "expected a string, got %s", luaL_typename(L, index)));
  const char *data = lua_tolstring(L, index, ret_size);
  if (opcode == MB_WEBSOCKET_TEXT &&
      !(mb_utf8_take(&utf8, data, *ret_size) && mb_utf8_is_whole(&utf8)))
    luaL_argerror(L, index, "a text message is UTF-8; send_binary sends any bytes");
  return data;
}

/* Compresses the message, if that was agreed on and is worth it. Returns what is to be sent. */
static const char *packed(struct mb_websocket *w, const char *data,
                          struct mb_websocket_frame *frame) {
  frame->compressed = mb_websocket_deflate(w, data, (size_t)frame->length);
  if (!frame->compressed) return data;
  frame->length = mb_buf_len(&w->packed);
  return mb_buf_bytes(&w->packed);
}

/* Puts a copy of the message with a mask on it in the place of the message at an index. */
static const char *masked(lua_State *L, int index, const struct mb_websocket_frame *frame,
                          const char *data) {
  luaL_Buffer b;
  size_t size = (size_t)frame->length;
  char *to = luaL_buffinitsize(L, &b, size);
  mb_websocket_mask(to, data, size, frame->mask, 0);
  luaL_pushresultsize(&b, size);
  lua_replace(L, index);
  return lua_tostring(L, index);
}

/*
 * Sends what the system takes at once of a message, after the queue. The head is queued with it. From here until the
 * caller has sent or queued the rest, w->sending is true.
 * Returns the number of bytes of payload that are sent or queued.
 */
static size_t begin_message(lua_State *L, struct mb_websocket *w, const char *data,
                            const struct mb_websocket_frame *frame) {
  struct mb_handle *h = w->over.handle;
  char bytes[MB_WEBSOCKET_HEAD_MAX + SMALL_BYTES];
  size_t head = mb_websocket_head(bytes, frame);
  size_t with = frame->length <= SMALL_BYTES ? (size_t)frame->length : 0;
  if (with > 0) memcpy(bytes + head, data, with);
  mb_handle_set_nodelay(h);
  size_t done = 0;
  if (h->out.len == 0 && with == frame->length) {
    ssize_t n = mb_handle_send_now(h, bytes, head + with, 0, false);
    if (h->out_error) return with;
    done = n > 0 ? (size_t)n : 0;
  }
  /* One that was compressed comes before what a finalizer compresses: that may refer to it. */
  w->sending = done > 0 || with < frame->length || frame->compressed;
  if (done < head + with && mb_handle_queue(L, h, bytes + done, head + with - done) < 0) {
    w->sending = done > 0;
    if (frame->compressed && !w->sending) mb_websocket_deflate_lost(w);
    mb_state_no_memory(L);
  }
  w->sending = true;
  if (with < frame->length || done == 0) mb_handle_send_queue(h, false);
  return with;
}

/* Sends payload without copying it, once the queue is empty. Returns how many bytes were sent. */
static size_t send_some(struct mb_handle *h, const char *data, size_t size) {
  if (h->out.len > 0) mb_handle_send_queue(h, false);
  if (h->out.len > 0 || h->out_error) return 0;
  ssize_t n = mb_handle_send_now(h, data, size, 0, false);
  if (n < 0 && n != -EAGAIN && !h->out_error) mb_handle_output_failed(h, (int)n);
  return n > 0 ? (size_t)n : 0;
}

/*
 * Waits until the peer takes something, for at most send_timeout; receives meanwhile. Returns whether it may have taken
 * something.
 */
static bool wait_for_peer(lua_State *L, struct mb_websocket *w, int64_t deadline) {
  struct mb_handle *h = w->over.handle;
  uint64_t most =
      w->max_message > HELD_MIN_BYTES ? w->max_message + MB_WEBSOCKET_HEAD_MAX : HELD_MIN_BYTES;
  for (;;) {
    bool full = mb_buf_len(&h->in) >= most || h->in_eof || h->in_error;
    int r = mb_handle_wait(h, full ? POLLOUT : POLLIN | POLLOUT, true, deadline);
    if (r & POLLOUT || r < 0) return r > 0;
    if (r == 0) return false;
    if (mb_handle_receive(L, h, HELD_MIN_BYTES, false) > 0) {
      h->in_short = false; /* there may be a message */
      w->heard = mb_now_usec();
      w->pinged = 0;
    }
  }
}

/* Sends the message at index 2, and waits until the system has taken it. */
static int send_waiting(lua_State *L, uint8_t opcode) {
  struct mb_websocket *w = mb_websocket_at(L, 1);
  struct mb_handle *h = w->over.handle;
  size_t size;
  lua_settop(L, 2);
  const char *data = message_at(L, 2, opcode, &size);
  struct mb_websocket_frame frame = {.final = true, .opcode = opcode, .length = size};
  choose_mask(L, w, &frame);
  if (frame.masked)
    data = masked(L, 2, &frame, data); /* may run a finalizer, and that may close the socket */
  if (w->state != MB_WEBSOCKET_OPEN || !can_send(w)) return push_failure(L, w);
  data = packed(w, data, &frame);
  size = (size_t)frame.length;
  size_t sent = begin_message(L, w, data, &frame);
  int64_t limit = MB_NO_DEADLINE;
  bool waited = false;
  while (takes_output(w) && (sent < size || h->out.len > 0)) {
    size_t before = sent + h->out.len, queued = h->out.len;
    if (sent < size) {
      sent += send_some(h, data + sent, size - sent);
    } else {
      mb_handle_send_queue(h, false);
    }
    bool moved = sent + h->out.len != before || h->out.len != queued;
    if (moved || !waited)
      limit = w->send_timeout ? mb_now_usec() + w->send_timeout : MB_NO_DEADLINE;
    if (!moved && !wait_for_peer(L, w, limit)) {
      if (!h->out_error) {
        mb_websocket_lose(w, "the peer takes nothing");
        mb_handle_reset(h);
      }
      break;
    }
    waited = !moved;
  }
  mb_websocket_deflate_done(w);
  if (!takes_output(w)) return push_failure(L, w);
  w->sending = false;
  lua_pushboolean(L, 1);
  return 1;
}

/* websocket:send(text): sends a text message. Returns true; or nil, message and, of the system, errno. */
static int method_send(lua_State *L) { return send_waiting(L, MB_WEBSOCKET_TEXT); }

/* websocket:send_binary(data): sends a binary message. */
static int method_send_binary(lua_State *L) { return send_waiting(L, MB_WEBSOCKET_BINARY); }

/* Queues the message at an index, and sends what the system takes now. Returns whether it could. */
static bool send_queued(lua_State *L, struct mb_websocket *w, int index, uint8_t opcode) {
  size_t size;
  const char *data = message_at(L, index, opcode, &size);
  struct mb_handle *h = w->over.handle;
  struct mb_websocket_frame frame = {.final = true, .opcode = opcode, .length = size};
  choose_mask(L, w, &frame);
  if (frame.masked)
    data = masked(L, index, &frame, data); /* may run a finalizer, and that may close the socket */
  if (w->state != MB_WEBSOCKET_OPEN || !can_send(w)) return false;
  data = packed(w, data, &frame);
  size = (size_t)frame.length;
  size_t sent = begin_message(L, w, data, &frame);
  while (takes_output(w) && sent < size) {
    size_t n = send_some(h, data + sent, size - sent);
    sent += n;
    if (n > 0) continue;
    if (mb_handle_queue(L, h, data + sent, size - sent) < 0) {
      mb_handle_output_failed(h, -ENOMEM); /* half a message is there: nothing may follow it */
      mb_state_no_memory(L);
    }
    break;
  }
  w->sending = false;
  mb_websocket_deflate_done(w);
  return takes_output(w);
}

/* websocket:send_nb(text): does not wait. Returns how many bytes are queued; or nil, message and errno. */
static int send_nb(lua_State *L, uint8_t opcode) {
  struct mb_websocket *w = mb_websocket_at(L, 1);
  lua_settop(L, 2);
  if (!send_queued(L, w, 2, opcode)) return push_failure(L, w);
  lua_pushinteger(L, (lua_Integer)w->over.handle->out.len);
  return 1;
}

static int method_send_nb(lua_State *L) { return send_nb(L, MB_WEBSOCKET_TEXT); }
static int method_send_binary_nb(lua_State *L) { return send_nb(L, MB_WEBSOCKET_BINARY); }

/* ---- write: messages that go out together ---- */

/* Queues a small message. Returns false, and does nothing, when it does not fit in the room for such messages. */
static bool write_queued(lua_State *L, struct mb_websocket *w, uint8_t opcode) {
  struct mb_handle *h = w->over.handle;
  char bytes[MB_WEBSOCKET_HEAD_MAX + SMALL_BYTES];
  size_t size;
  const char *data = message_at(L, 2, opcode, &size);
  if (w->is_client || size > SMALL_BYTES || h->out.len + size > SMALL_BYTES) return false;
  if (w->state != MB_WEBSOCKET_OPEN || !can_send(w)) return false;
  struct mb_websocket_frame frame = {.final = true, .opcode = opcode, .length = size};
  data = packed(w, data, &frame);
  if (frame.length > SMALL_BYTES) data = NULL; /* it does not shrink, but grows */
  size_t head = mb_websocket_head(bytes, &frame);
  if (data) memcpy(bytes + head, data, (size_t)frame.length);
  mb_websocket_deflate_done(w);
  w->sending = frame.compressed; /* what a finalizer sends may not come before what it refers to */
  bool queued = data && mb_handle_queue(L, h, bytes, head + (size_t)frame.length) >= 0;
  w->sending = false;
  if (queued) return true;
  mb_websocket_deflate_lost(w); /* the peer does not get what the next message would refer to */
  if (data) mb_state_no_memory(L);
  return false;
}

static int write_message(lua_State *L, uint8_t opcode) {
  lua_settop(L, 2);
  if (!write_queued(L, mb_websocket_at(L, 1), opcode)) return send_waiting(L, opcode);
  lua_pushboolean(L, 1);
  return 1;
}

/*
 * websocket:write(text): as send, but a small message may stay in the queue, until the next receive, send, ping, close
 * or flush_nb, or until 16 KiB are there. Returns true; or nil, message and errno. Source: socket:write.
 */
static int method_write(lua_State *L) { return write_message(L, MB_WEBSOCKET_TEXT); }
static int method_write_binary(lua_State *L) { return write_message(L, MB_WEBSOCKET_BINARY); }

/* ---- _call and _yield: the websocket, the waitfunc, the message ---- */

static int send_loop(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  for (;;) {
    lua_settop(L, 3);
    struct mb_websocket *w = mb_websocket_at(L, 1);
    if (!can_send(w)) return push_failure(L, w);
    mb_handle_send_queue(w->over.handle, false);
    if (can_send(w) && w->over.handle->out.len == 0) {
      lua_pushboolean(L, 1);
      return 1;
    }
    if (!can_send(w)) continue;
    lua_pushvalue(L, 2);
    lua_callk(L, 0, 0, 0, send_loop);
  }
}

static int send_call(lua_State *L, uint8_t opcode) {
  struct mb_websocket *w = mb_websocket_at(L, 1);
  mb_state_check_callable(L, 2);
  lua_settop(L, 3);
  if (!send_queued(L, w, 3, opcode)) return push_failure(L, w);
  return send_loop(L, LUA_OK, 0);
}

/* websocket:send_call(waitfunc, text): works as send; calls waitfunc() as long as the peer takes nothing. */
static int method_send_call(lua_State *L) { return send_call(L, MB_WEBSOCKET_TEXT); }
static int method_send_binary_call(lua_State *L) { return send_call(L, MB_WEBSOCKET_BINARY); }

/* Checks the message where the script put it, and puts coroutine.yield in front of it. */
static void insert_yield(lua_State *L, uint8_t opcode) {
  size_t size;
  mb_websocket_at(L, 1);
  message_at(L, 2, opcode, &size);
  mb_state_insert_yield(L, 2);
}

/* websocket:send_yield(text) */
static int method_send_yield(lua_State *L) {
  insert_yield(L, MB_WEBSOCKET_TEXT);
  return send_call(L, MB_WEBSOCKET_TEXT);
}

static int method_send_binary_yield(lua_State *L) {
  insert_yield(L, MB_WEBSOCKET_BINARY);
  return send_call(L, MB_WEBSOCKET_BINARY);
}

static int send_ping_or_pong(lua_State *L, uint8_t opcode) {
  struct mb_websocket *w = mb_websocket_at(L, 1);
  size_t size;
  const char *data = luaL_optlstring(L, 2, "", &size);
  luaL_argcheck(L, size <= MB_WEBSOCKET_CONTROL_MAX, 2, "a ping or a pong has at most 125 bytes");
  if (w->state != MB_WEBSOCKET_OPEN || !can_send(w)) return push_failure(L, w);
  mb_websocket_send_control(L, w, opcode, data, size);
  lua_pushboolean(L, 1);
  return 1;
}

/* websocket:ping([data]): data has at most 125 bytes. Does not wait. Returns true; or nil and why. */
static int method_ping(lua_State *L) { return send_ping_or_pong(L, MB_WEBSOCKET_PING); }

/* websocket:pong([data]): tells the peer that we are there, unasked (RFC 6455, section 5.5.3); works as ping. */
static int method_pong(lua_State *L) { return send_ping_or_pong(L, MB_WEBSOCKET_PONG); }

/* websocket:flush_nb(): sends what the system takes now. Returns how many bytes are left; or nil, message and errno. */
static int method_flush_nb(lua_State *L) {
  struct mb_websocket *w = mb_websocket_at(L, 1);
  if (takes_output(w)) mb_handle_send_queue(w->over.handle, false);
  if (!takes_output(w)) return push_failure(L, w);
  lua_pushinteger(L, (lua_Integer)w->over.handle->out.len);
  return 1;
}

const luaL_Reg mb_websocket_send_methods[] = {
    {"flush_nb", method_flush_nb},
    {"ping", method_ping},
    {"pong", method_pong},
    {"send", method_send},
    {"send_binary", method_send_binary},
    {"send_binary_call", method_send_binary_call},
    {"send_binary_nb", method_send_binary_nb},
    {"send_binary_yield", method_send_binary_yield},
    {"send_call", method_send_call},
    {"send_nb", method_send_nb},
    {"send_yield", method_send_yield},
    {"write", method_write},
    {"write_binary", method_write_binary},
    {NULL, NULL},
};
