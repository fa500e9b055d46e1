/* socket:write and socket:flush, and their forms that do not wait. */
#include <errno.h>
#include <lauxlib.h>

#include "socket/handle_methods.h"
#include "socket/transport_socket.h"
#include "state/state.h"

#define PIECES_MAX 64 /* for one writev(2): more pieces make a call no cheaper */

int mb_handle_output_failed(struct mb_handle *h, int r) {
  h->out_error = -r;
  mb_wqueue_free(&h->out, h->alloc);
  return r;
}

int mb_handle_send_queue(struct mb_handle *h, bool wait) {
  int r = mb_handle_decide(h, wait);
  if (r == -EAGAIN) return 0;
  if (h->out_error) return -h->out_error;
  while (h->out.len > 0) {
    struct iovec pieces[PIECES_MAX];
    int n = mb_wqueue_pieces(&h->out, pieces, PIECES_MAX);
    ssize_t sent = h->io.transport->writev(&h->io, pieces, n, wait);
    if (sent == -EAGAIN) return 0;
    if (sent < 0) return mb_handle_output_failed(h, (int)sent);
    mb_handle_sent(h, (size_t)sent);
    mb_wqueue_sent(&h->out, h->alloc, (size_t)sent);
  }
  return 0;
}

/* The position of a write in its arguments. */
struct cursor {
  int argument, last;
  size_t offset; /* bytes of the argument that are sent */
};

static int add_arguments(lua_State *L, const struct cursor *at, struct iovec *pieces, int n) {
  size_t offset = at->offset;
  for (int i = at->argument; i <= at->last && n < PIECES_MAX; i++, offset = 0) {
    size_t len;
    const char *text = lua_tolstring(L, i, &len);
    if (len == offset) continue;
    pieces[n].iov_base = (void *)(text + offset);
    pieces[n].iov_len = len - offset;
    n++;
  }
  return n;
}

static void advance(lua_State *L, struct cursor *at, size_t sent) {
  while (at->argument <= at->last) {
    size_t rest = lua_rawlen(L, at->argument) - at->offset;
    if (sent < rest) {
      at->offset += sent;
      return;
    }
    sent -= rest;
    at->argument++;
    at->offset = 0;
  }
}

/*
 * Sends the queue and then the arguments. Returns 0 when all bytes are sent, -EAGAIN when some are left,
 * or -errno.
 */
static int send_all(lua_State *L, struct mb_handle *h, struct cursor *at, bool wait) {
  for (;;) {
    struct iovec pieces[PIECES_MAX];
    int n = mb_wqueue_pieces(&h->out, pieces, PIECES_MAX);
    n = add_arguments(L, at, pieces, n);
    if (n == 0) return 0;
    ssize_t sent = h->io.transport->writev(&h->io, pieces, n, wait);
    if (sent == -EAGAIN) return -EAGAIN;
    if (sent < 0) return mb_handle_output_failed(h, (int)sent);
    mb_handle_sent(h, (size_t)sent);
    size_t of_queue = (size_t)sent < h->out.len ? (size_t)sent : h->out.len;
    mb_wqueue_sent(&h->out, h->alloc, of_queue);
    advance(L, at, (size_t)sent - of_queue);
  }
}

int mb_handle_queue(lua_State *L, struct mb_handle *h, const char *bytes, size_t size) {
  if (mb_wqueue_append(&h->out, h->alloc, bytes, size) == 0) return 0;
  lua_gc(L, LUA_GCCOLLECT, 0);
  mb_handle_check_output(L, h); /* a finalizer may have finished the socket */
  return mb_wqueue_append(&h->out, h->alloc, bytes, size);
}

static void queue_rest(lua_State *L, struct mb_handle *h, const struct cursor *at) {
  size_t offset = at->offset;
  for (int i = at->argument; i <= at->last; i++, offset = 0) {
    size_t len;
    const char *text = lua_tolstring(L, i, &len);
    if (mb_handle_queue(L, h, text + offset, len - offset) == 0) continue;
    /* Half of a write is queued or sent: nothing after it would make sense to the peer. */
    mb_handle_output_failed(h, -ENOMEM);
    mb_state_no_memory(L);
  }
}

/*
 * The queue has gathered the bytes that belong together, so small packets need not wait for an
 * acknowledgement.
 */
void mb_handle_set_nodelay(struct mb_handle *h) {
  if (h->nodelay || !mb_handle_is_tcp(h)) return;
  h->nodelay = true;
  mb_fd_set_nodelay(h->io.out_fd);
}

ssize_t mb_handle_send_now(struct mb_handle *h, const void *data, size_t size, int flags,
                           bool wait) {
  ssize_t n;
  if (flags && h->io.transport == &mb_transport_socket) {
    n = send(h->io.out_fd, data, size, flags | MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
    if (n < 0) n = -errno;
  } else {
    struct iovec piece = {.iov_base = (void *)data, .iov_len = size};
    n = h->io.transport->writev(&h->io, &piece, 1, wait);
  }
  if (n >= 0) {
    mb_handle_sent(h, (size_t)n);
  } else if (mb_fd_is_gone((int)n)) {
    mb_handle_output_failed(h, (int)n);
  }
  return n;
}

void mb_handle_check_strings(lua_State *L, int first) {
  for (int i = first; i <= lua_gettop(L); i++) luaL_checkstring(L, i);
}

int mb_handle_put(lua_State *L, struct mb_handle *h, int first, int mode) {
  struct cursor at = {.argument = first, .last = lua_gettop(L)};
  mb_handle_check_strings(L, first);
  /* Turning a number into a string may run a finalizer, and that may close the socket. */
  mb_handle_for_output(L);
  if (h->out_error) return -h->out_error;
  size_t total = h->out.len;
  for (int i = first; i <= at.last; i++) total += lua_rawlen(L, i);
  if (!(mode & MB_WRITE_FLUSH) && total < MB_WRITE_SMALL_BYTES) {
    queue_rest(L, h, &at);
    return 0;
  }
  int r = mb_handle_decide(h, mode & MB_WRITE_WAIT);
  if (h->out_error) return -h->out_error;
  if (mode & MB_WRITE_FLUSH && total > 0) mb_handle_set_nodelay(h);
  if (r == 0) r = send_all(L, h, &at, mode & MB_WRITE_WAIT);
  if (r == -EAGAIN) {
    queue_rest(L, h, &at);
    r = 0;
  }
  return r;
}

static int put_and_return_socket(lua_State *L, int mode) {
  struct mb_handle *h = mb_handle_for_output(L);
  int r = mb_handle_put(L, h, 2, mode | MB_WRITE_WAIT);
  if (r < 0) return mb_handle_push_error(L, h, r);
  lua_settop(L, 1);
  return 1;
}

static int put_and_return_pending(lua_State *L, int mode) {
  struct mb_handle *h = mb_handle_for_output(L);
  int r = mb_handle_put(L, h, 2, mode);
  if (r < 0) return mb_handle_push_error(L, h, r);
  bool little = !(mode & MB_WRITE_FLUSH) && h->out.len < MB_WRITE_SMALL_BYTES;
  lua_pushinteger(L, little ? 0 : (lua_Integer)h->out.len);
  return 1;
}

/*
 * socket:write(...)
 * Sends the strings; keeps a small portion until more comes or it is flushed. Returns the socket, or nil,
 * message, errno.
 */
static int method_write(lua_State *L) { return put_and_return_socket(L, MB_WRITE_BUFFER); }

/* socket:flush(...): works as write, but keeps nothing. */
static int method_flush(lua_State *L) { return put_and_return_socket(L, MB_WRITE_FLUSH); }

/*
 * socket:write_nb(...)
 * Sends without waiting, and queues what the system does not take. Returns 0 when all except a small
 * portion was sent, otherwise the number of bytes in the queue; or nil, message, errno.
 */
int mb_handle_method_write_nb(lua_State *L) { return put_and_return_pending(L, MB_WRITE_BUFFER); }

/*
 * socket:flush_nb(...): works as write_nb, but sends the small portion too. Returns the number of bytes
 * in the queue.
 */
int mb_handle_method_flush_nb(lua_State *L) { return put_and_return_pending(L, MB_WRITE_FLUSH); }

const luaL_Reg mb_handle_write_methods[] = {
    {"flush", method_flush},
    {"flush_nb", mb_handle_method_flush_nb},
    {"write", method_write},
    {"write_nb", mb_handle_method_write_nb},
    {NULL, NULL},
};
