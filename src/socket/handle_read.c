/* socket:read and socket:drain, and their forms that do not wait. */
#include <errno.h>
#include <lauxlib.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/record.h"
#include "socket/handle_methods.h"
#include "state/state.h"

/* How many bytes one receive asks for; see room_needed. */
#define RECEIVE_FIRST_BYTES 4096
#define RECEIVE_MAX_BYTES   65536

/* An empty buffer larger than this gives its memory back: a long read is over. */
#define KEEP_MAX_BYTES (256 * 1024)

struct mb_read_request mb_read_request_at(lua_State *L, int index) {
  struct mb_read_request request = {.maxlen = SIZE_MAX, .terminator = -1};
  if (!lua_isnoneornil(L, index)) {
    lua_Integer maxlen = luaL_checkinteger(L, index);
    luaL_argcheck(L, maxlen >= 0, index, "maximum length must not be negative");
    request.maxlen = (size_t)maxlen;
  }
  if (!lua_isnoneornil(L, index + 1)) {
    size_t len;
    const char *text = luaL_checklstring(L, index + 1, &len);
    luaL_argcheck(L, len == 1, index + 1, "terminator must be a single character");
    request.terminator = (unsigned char)text[0];
  }
  return request;
}

/*
 * Sends as much of the queue as the system takes now. Returns whether some of it is left. The next write
 * reports a failure.
 */
static bool sends_on(struct mb_handle *h) {
  if (h->out.len == 0 || h->out_error || h->state != MB_HANDLE_OPEN) return false;
  return mb_handle_send_queue(h, false) == 0 && h->out.len > 0;
}

int mb_handle_wait_for_input(struct mb_handle *h, int64_t deadline) {
  int r;
  do {
    r = mb_handle_wait(h, sends_on(h) ? POLLIN | POLLOUT : POLLIN, true, deadline);
    if (r < 0) return r;
    if (r & POLLOUT) sends_on(h);
  } while (r == POLLOUT);
  return r & POLLIN ? 0 : -EAGAIN;
}

static ssize_t receive(struct mb_handle *h, void *data, size_t len, bool wait) {
  const struct mb_transport *transport = h->io.transport;
  if (wait && h->out.len > 0 && h->state == MB_HANDLE_OPEN) {
    ssize_t n = transport->read(&h->io, data, len, false);
    if (n != -EAGAIN) return n;
    int r = mb_handle_wait_for_input(h, MB_NO_DEADLINE);
    if (r < 0) return r;
  }
  return transport->read(&h->io, data, len, wait);
}

/* Returns the room, in bytes, that a receive of about `wanted` bytes needs; 0: the buffer has enough. */
static size_t room_needed(struct mb_handle *h, size_t wanted) {
  size_t room;
  if (mb_buf_len(&h->in) == 0 && h->in.capacity > KEEP_MAX_BYTES) mb_buf_free(&h->in, h->alloc);
  mb_buf_room(&h->in, &room);
  /*
   * Most requests are short, so the first receive asks for little. Once the peer has filled that, more
   * room saves calls.
   */
  size_t usual = h->in_streams ? RECEIVE_MAX_BYTES : RECEIVE_FIRST_BYTES;
  if (room >= usual || room >= wanted) return 0;
  /* A read of known length that fits one receive gets room for all of it; any other grows step by step. */
  return wanted > usual && wanted <= RECEIVE_MAX_BYTES ? wanted : usual;
}

/* Throws when memory runs out, or when one of the script's finalizers has closed the handle. */
static void make_room(lua_State *L, struct mb_handle *h, size_t wanted) {
  size_t need = room_needed(h, wanted);
  if (need > 0 && mb_state_reserve(L, &h->in, need)) mb_handle_check_open(L, h);
}

static void (*at_first_input)(struct mb_handle *h, size_t len);

void mb_handle_at_first_input(void (*f)(struct mb_handle *h, size_t len)) { at_first_input = f; }

/* A recording that fails never disturbs the connection. */
static void record(struct mb_handle *h, const char *data, size_t len) {
  int r = mb_record_write(h->record_fd, data, len);
  if (r == 0 && h->received == 0 && at_first_input) at_first_input(h, len);
  if (r == 0) return;
  /* No file refuses with EPERM: it is the memory of --dev, which is full. */
  if (r != -EPERM) mb_log(LOG_WARNING, "--record: stopped, cannot write: %s", strerror(-r));
  close(h->record_fd);
  h->record_fd = -1;
}

/* within: how long it waits in microseconds, where that takes no other system call; 0: as `wait` says. */
static ssize_t receive_once(lua_State *L, struct mb_handle *h, size_t wanted, bool wait,
                            int64_t within) {
  if (h->in_error) return -h->in_error;
  int r = mb_handle_decide(h, wait);
  if (r < 0) return r;
  make_room(L, h, wanted);
  if (h->in_eof) return 0; /* a finalizer has finished the socket */
  size_t room;
  char *to = mb_buf_room(&h->in, &room);
  if (room > RECEIVE_MAX_BYTES) room = RECEIVE_MAX_BYTES;
  bool in_one = within > 0 && h->io.transport->read_within && h->out.len == 0;
  ssize_t n =
      in_one ? h->io.transport->read_within(&h->io, to, room, within) : receive(h, to, room, wait);
  if (n == 0 && mb_fd_is_lost(-h->out_error)) n = -h->out_error; /* a write has been told */
  if (n > 0) {
    h->in_streams = (size_t)n == room;
    if (h->record_fd >= 0) record(h, to, (size_t)n);
    if (h->traffic) h->traffic->in += (uint64_t)n;
    h->received += (uint64_t)n;
    mb_buf_added(&h->in, (size_t)n);
  } else if (n == 0) {
    h->in_eof = true;
  } else if (n != -EAGAIN) {
    h->in_error = (int)-n;
  }
  return n;
}

ssize_t mb_handle_receive(lua_State *L, struct mb_handle *h, size_t wanted, bool wait) {
  return receive_once(L, h, wanted, wait, 0);
}

ssize_t mb_handle_receive_within(lua_State *L, struct mb_handle *h, size_t wanted, int64_t usec) {
  return receive_once(L, h, wanted, false, usec);
}

bool mb_handle_end_tls(struct mb_handle *h) {
  char peer[MB_ADDR_LABEL_MAX];
  if (!mb_handle_begins_with_tls(h)) return false;
  mb_addr_peer_label(mb_handle_fd(h), &h->remote, peer);
  mb_log(LOG_INFO, "the input looks like TLS, which is not spoken here (client %s)", peer);
  mb_buf_take(&h->in, mb_buf_len(&h->in));
  h->in_eof = true;
  return true;
}

/* Returns whether the bytes in the buffer meet the request, or no more will come. Sets *ret in any case. */
static bool is_met(struct mb_handle *h, const struct mb_read_request *request,
                   struct mb_read_result *ret) {
  if (request->terminator == '\n') mb_handle_end_tls(h);
  size_t len = mb_buf_len(&h->in);
  size_t span = len < request->maxlen ? len : request->maxlen;
  if (request->terminator >= 0) {
    size_t found = mb_buf_find(&h->in, (unsigned char)request->terminator, span);
    if (found) {
      *ret = (struct mb_read_result){found, MB_READ_TERM};
      return true;
    }
  }
  *ret = (struct mb_read_result){span, len >= request->maxlen ? MB_READ_MAXLEN : MB_READ_EOF};
  return len >= request->maxlen || h->in_eof;
}

int mb_handle_fill(lua_State *L, struct mb_handle *h, const struct mb_read_request *request,
                   bool wait, struct mb_read_result *ret) {
  while (!is_met(h, request, ret)) {
    ssize_t n = mb_handle_receive(L, h, request->maxlen - mb_buf_len(&h->in), wait);
    if (n == -EAGAIN) {
      ret->status = MB_READ_BLOCK;
      return 0;
    }
    if (n < 0) return (int)n;
  }
  return 0;
}

static void push_status(lua_State *L, enum mb_read_status status) {
  static const char *const names[] = {"term", "maxlen", "eof", "block"};
  lua_pushstring(L, names[status]);
}

int mb_handle_push_read(lua_State *L, struct mb_handle *h, const struct mb_read_result *result) {
  /* The bytes are taken first: pushing may run the script's finalizers, and those may read or close. */
  const char *bytes = mb_buf_bytes(&h->in);
  mb_buf_take(&h->in, result->len);
  lua_pushlstring(L, bytes, result->len);
  push_status(L, result->status);
  return 2;
}

int mb_handle_push_count(lua_State *L, size_t count, enum mb_read_status status) {
  lua_pushinteger(L, (lua_Integer)count);
  push_status(L, status);
  return 2;
}

int mb_handle_discard(lua_State *L, struct mb_handle *h, const struct mb_read_request *request,
                      bool wait, size_t *count, enum mb_read_status *ret_status) {
  struct mb_read_result result;
  for (;;) {
    struct mb_read_request rest = *request;
    if (rest.maxlen != SIZE_MAX) rest.maxlen -= *count;
    bool met = is_met(h, &rest, &result);
    mb_buf_take(&h->in, result.len);
    *count += result.len;
    if (met) break;
    ssize_t n = mb_handle_receive(L, h, rest.maxlen - result.len, wait);
    if (n == -EAGAIN) {
      result.status = MB_READ_BLOCK;
      break;
    }
    if (n < 0) return (int)n;
  }
  *ret_status = result.status;
  return 0;
}

static int read_now(lua_State *L, bool wait) {
  struct mb_handle *h = mb_handle_for_input(L);
  struct mb_read_request request = mb_read_request_at(L, 2);
  struct mb_read_result result;
  int r = mb_handle_fill(L, h, &request, wait, &result);
  if (r < 0) return mb_handle_push_error(L, h, r);
  return mb_handle_push_read(L, h, &result);
}

static int drain_now(lua_State *L, bool wait) {
  struct mb_handle *h = mb_handle_for_input(L);
  struct mb_read_request request = mb_read_request_at(L, 2);
  size_t count = 0;
  enum mb_read_status status;
  int r = mb_handle_discard(L, h, &request, wait, &count, &status);
  if (r < 0) return mb_handle_push_error(L, h, r);
  return mb_handle_push_count(L, count, status);
}

/*
 * socket:read(maxlen, terminator)
 * Reads up to maxlen bytes (nil: no limit), or up to and including the terminator (one character;
 * nil: none).
 * Returns the bytes and "term", "maxlen" or "eof"; or nil, message, errno.
 */
static int method_read(lua_State *L) { return read_now(L, true); }

/* socket:read_nb(maxlen, terminator): does not wait; the status may be "block" as well. */
static int method_read_nb(lua_State *L) { return read_now(L, false); }

/* socket:drain(maxlen, terminator): works as read, but discards the bytes and returns their number. */
static int method_drain(lua_State *L) { return drain_now(L, true); }

/* socket:drain_nb(maxlen, terminator): works as read_nb, but discards the bytes and returns their number. */
static int method_drain_nb(lua_State *L) { return drain_now(L, false); }

const luaL_Reg mb_handle_read_methods[] = {
    {"drain", method_drain},
    {"drain_nb", method_drain_nb},
    {"read", method_read},
    {"read_nb", method_read_nb},
    {NULL, NULL},
};
