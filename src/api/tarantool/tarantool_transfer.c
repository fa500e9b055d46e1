/*
 * Input and output of mb.tarantool's sockets: streams, datagrams, and the buffer of read and readline. The
 * connection is read and written through its handle. Nothing here waits.
 */
#include <errno.h>
#include <lauxlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "api/tarantool/tarantool_address.h"
#include "api/tarantool/tarantool_errno.h"
#include "api/tarantool/tarantool_names.h"
#include "api/tarantool/tarantool_socket.h"
#include "base/rare.h"
#include "socket/handle_methods.h"
#include "state/state.h"

/* The size of one system call if the caller gives none, and the largest size. */
#define RECEIVE_BYTES     65536
#define RECEIVE_MAX_BYTES (1024 * 1024)

/* An empty buffer larger than this gives its memory back. */
#define KEEP_MAX_BYTES (256 * 1024)

static int push_sent(lua_State *L, ssize_t n) {
  if (n < 0) return mb_tarantool_push_error(L, (int)n);
  lua_pushinteger(L, (lua_Integer)n);
  return 1;
}

/* ---- input of the handle ---- */

/*
 * Receives if the buffer is empty. Returns how many bytes are in the buffer, 0 at the end of the stream, or
 * -errno.
 */
static ssize_t fill_handle(lua_State *L, struct mb_tarantool_socket *s, size_t wanted) {
  struct mb_handle *h = s->handle;
  if (s->input_shut) return 0;
  size_t there = mb_buf_len(&h->in);
  if (there > 0) return (ssize_t)there;
  ssize_t n = mb_handle_receive(L, h, wanted, false);
  if (n == 0 && h->in_error) return -h->in_error;
  return n;
}

static int push_from_handle(lua_State *L, struct mb_tarantool_socket *s, size_t size, bool peek) {
  ssize_t n = fill_handle(L, s, size);
  if (n < 0) return mb_tarantool_push_error(L, (int)n);
  if ((size_t)n > size) n = (ssize_t)size;
  /* The bytes are taken before they are pushed: see mb_handle_push_read. */
  const char *bytes = mb_buf_bytes(&s->handle->in);
  if (!peek) mb_buf_take(&s->handle->in, (size_t)n);
  lua_pushlstring(L, n > 0 ? bytes : "", (size_t)n);
  return 1;
}

/* ---- input of a descriptor ---- */

/*
 * Receives once. Returns the number of bytes or -errno.
 * from  NULL, or gets the sender's address
 */
static ssize_t receive(int fd, void *data, size_t size, int flags, struct mb_addr *from) {
  ssize_t n;
  do {
    if (from) from->len = sizeof from->storage;
    n = MB_RARE(recvfrom)(fd, data, size, flags | MSG_DONTWAIT, from ? &from->any : NULL,
                          from ? &from->len : NULL);
  } while (n < 0 && errno == EINTR);
  return n < 0 ? -errno : n;
}

static int push_received(lua_State *L, const struct mb_tarantool_socket *s, size_t size, int flags,
                         struct mb_addr *from) {
  luaL_Buffer b;
  char *to = luaL_buffinitsize(L, &b, size);
  ssize_t n = receive(s->fd, to, size, flags, from);
  if (n < 0) return mb_tarantool_push_error(L, (int)n);
  luaL_pushresultsize(&b,
                      (size_t)n < size ? (size_t)n : size); /* MSG_TRUNC tells the whole length */
  return 1;
}

/*
 * Returns how many bytes there are to receive: all of a stream, otherwise the next datagram. At least 1; or
 * -errno.
 */
static ssize_t size_of_next(const struct mb_tarantool_socket *s) {
  int count = 0;
  ssize_t n;
  if (s->type == SOCK_STREAM) {
    n = ioctl(mb_tarantool_descriptor(s), FIONREAD, &count) == 0 ? count : RECEIVE_BYTES;
    return n > 0 ? n : RECEIVE_BYTES;
  }
  n = receive(s->fd, NULL, 0, MSG_PEEK | MSG_TRUNC, NULL);
  return n == 0 ? 1 : n;
}

/* Returns the size at an index, at most RECEIVE_MAX_BYTES; for nil the result of size_of_next. */
static ssize_t size_at(lua_State *L, int index, const struct mb_tarantool_socket *s) {
  if (lua_isnoneornil(L, index)) return size_of_next(s);
  lua_Integer size = luaL_checkinteger(L, index);
  luaL_argcheck(L, size >= 0, index, "expected a number of bytes, 0 or more");
  return size < RECEIVE_MAX_BYTES ? (ssize_t)size : RECEIVE_MAX_BYTES;
}

/* s:read(size): read(2). Returns a string, which is empty at the end of the stream; or nil, errno. */
int mb_tarantool_method_read(lua_State *L) {
  struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  ssize_t size = lua_isnoneornil(L, 2) ? RECEIVE_BYTES : size_at(L, 2, s);
  if (size == 0) { /* needs no wait */
    lua_pushliteral(L, "");
    return 1;
  }
  if (s->handle) return push_from_handle(L, s, (size_t)size, false);
  return push_received(L, s, (size_t)size, 0, NULL);
}

static int receive_message(lua_State *L, bool with_sender) {
  struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  int flags;
  if (mb_tarantool_check_flags(L, 3, mb_tarantool_message_flags, &flags) < 0)
    return mb_tarantool_push_error(L, -EINVAL);
  ssize_t size = size_at(L, 2, s);
  if (size < 0) return mb_tarantool_push_error(L, (int)size);
  struct mb_addr from = {.len = 0};
  int results = s->handle ? push_from_handle(L, s, (size_t)size, flags & MSG_PEEK)
                          : push_received(L, s, (size_t)size, flags, with_sender ? &from : NULL);
  if (results == 2 || !with_sender) return results;
  mb_tarantool_push_address(L, &from, false);
  return 2;
}

/*
 * s:recv([size], [flags]): recv(2). Without a size it takes the bytes of a stream that are there, or one
 * datagram. Returns a string; or nil, errno.
 */
int mb_tarantool_method_recv(lua_State *L) { return receive_message(L, false); }

/* s:recvfrom([size], [flags]): as recv, but also returns a datagram's sender, a table; nil for a stream. */
int mb_tarantool_method_recvfrom(lua_State *L) { return receive_message(L, true); }

/* ---- the buffer ---- */

/* Makes room in the buffer. Collects garbage when memory runs out, and throws when that does not help. */
static void make_room(lua_State *L, struct mb_tarantool_socket *s, size_t size) {
  if (mb_buf_len(&s->rbuf) == 0 && s->rbuf.capacity > KEEP_MAX_BYTES)
    mb_buf_free(&s->rbuf, s->alloc);
  if (mb_state_reserve(L, &s->rbuf, size)) mb_tarantool_check_socket(L);
}

static ssize_t move_from_handle(lua_State *L, struct mb_tarantool_socket *s, size_t size,
                                bool lines) {
  ssize_t n = fill_handle(L, s, size);
  if (n <= 0) return n;
  if (lines && mb_handle_end_tls(s->handle)) return 0;
  if ((size_t)n > size) n = (ssize_t)size;
  make_room(L, s, (size_t)n);
  size_t left = mb_buf_len(&s->handle->in); /* a finalizer may have read some of it */
  if (left == 0) return -EAGAIN;
  if ((size_t)n > left) n = (ssize_t)left;
  size_t room;
  memcpy(mb_buf_room(&s->rbuf, &room), mb_buf_bytes(&s->handle->in), (size_t)n);
  mb_buf_take(&s->handle->in, (size_t)n);
  return n;
}

/*
 * s:fill(limit, lines): receives at most `limit` bytes into the buffer. lines: whether they are for a line.
 * Returns how many, 0 at the end of the stream; or nil, errno.
 */
int mb_tarantool_method_fill(lua_State *L) {
  struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  lua_Integer limit = luaL_checkinteger(L, 2);
  size_t size = limit < RECEIVE_BYTES ? (size_t)limit : RECEIVE_BYTES;
  ssize_t n;
  if (s->handle) {
    n = move_from_handle(L, s, size, lua_toboolean(L, 3));
  } else {
    make_room(L, s, size);
    size_t room;
    n = receive(s->fd, mb_buf_room(&s->rbuf, &room), size, 0, NULL);
  }
  if (n > 0) mb_buf_added(&s->rbuf, (size_t)n);
  return push_sent(L, n);
}

/* s:buffered(): returns how many bytes are in the buffer. */
int mb_tarantool_method_buffered(lua_State *L) {
  const struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  lua_pushinteger(L, (lua_Integer)mb_buf_len(&s->rbuf));
  return 1;
}

/*
 * s:take(n, peek): returns the first n bytes of the buffer, or all if it has fewer. With peek the buffer
 * keeps them.
 */
int mb_tarantool_method_take(lua_State *L) {
  struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  lua_Integer n = luaL_checkinteger(L, 2);
  size_t len = mb_buf_len(&s->rbuf);
  if (n >= 0 && (lua_Unsigned)n < len) len = (size_t)n;
  const char *bytes = mb_buf_bytes(&s->rbuf);
  /* The bytes are taken before they are pushed: see mb_handle_push_read. */
  if (!lua_toboolean(L, 3)) mb_buf_take(&s->rbuf, len);
  lua_pushlstring(L, len > 0 ? bytes : "", len);
  return 1;
}

/*
 * s:find(markers, limit, from): looks in the first `limit` bytes of the buffer for the marker that ends
 * first. markers is an array of strings; `from` bytes were searched before. Returns the length up to the
 * marker's end, or nil.
 */
int mb_tarantool_method_find(lua_State *L) {
  const struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  size_t limit = (size_t)luaL_checkinteger(L, 3), from = (size_t)luaL_checkinteger(L, 4);
  const char *bytes = mb_buf_bytes(&s->rbuf);
  size_t len = mb_buf_len(&s->rbuf), found = 0;
  if (len > limit) len = limit;
  for (lua_Integer i = 1; len > 0 && lua_rawgeti(L, 2, i) == LUA_TSTRING; i++) {
    size_t size;
    const char *marker = lua_tolstring(L, -1, &size);
    size_t start = from < size ? 0 : from - size + 1; /* it may begin in the searched bytes */
    const char *at = start < len ? memmem(bytes + start, len - start, marker, size) : NULL;
    size_t end = at ? (size_t)(at - bytes) + size : 0;
    if (end && (!found || end < found)) found = end;
    lua_pop(L, 1);
  }
  if (!found) return 0;
  lua_pushinteger(L, (lua_Integer)found);
  return 1;
}

/* ---- output ---- */

/* Sends over the handle as much as goes without waiting. Returns the number of bytes, or -errno. */
static ssize_t send_over_handle(struct mb_tarantool_socket *s, const char *data, size_t size,
                                int flags) {
  struct mb_handle *h = s->handle;
  if (s->output_shut || h->state != MB_HANDLE_OPEN) return -EPIPE;
  int r = mb_handle_send_queue(h, false);
  if (r < 0) return r;
  if (h->out.len > 0) return -EAGAIN;
  if (size == 0) return 0;
  return mb_handle_send_now(h, data, size, flags, false);
}

static ssize_t send_to(const struct mb_tarantool_socket *s, const char *data, size_t size,
                       int flags, const struct mb_addr *to) {
  ssize_t n;
  do {
    n = MB_RARE(sendto)(s->fd, data, size, flags | MSG_DONTWAIT | MSG_NOSIGNAL,
                        to ? &to->any : NULL, to ? to->len : 0);
  } while (n < 0 && errno == EINTR);
  return n < 0 ? -errno : n;
}

/*
 * s:write(data, from): write(2) of the bytes after the first `from`. Returns how many the system has taken;
 * or nil, errno.
 */
int mb_tarantool_method_write(lua_State *L) {
  struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  size_t size;
  const char *data = luaL_checklstring(L, 2, &size);
  size_t from = (size_t)luaL_optinteger(L, 3, 0);
  luaL_argcheck(L, from <= size, 3, "beyond the end");
  if (s->handle) return push_sent(L, send_over_handle(s, data + from, size - from, 0));
  return push_sent(L, send_to(s, data + from, size - from, 0, NULL));
}

/* s:send(data, flags, from): as write, with flags. */
int mb_tarantool_method_send(lua_State *L) {
  struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  size_t size;
  int flags;
  const char *data = luaL_checklstring(L, 2, &size);
  size_t from = (size_t)luaL_optinteger(L, 4, 0);
  luaL_argcheck(L, from <= size, 4, "beyond the end");
  if (mb_tarantool_check_flags(L, 3, mb_tarantool_message_flags, &flags) < 0)
    return mb_tarantool_push_error(L, -EINVAL);
  if (s->handle) return push_sent(L, send_over_handle(s, data + from, size - from, flags));
  return push_sent(L, send_to(s, data + from, size - from, flags, NULL));
}

/* s:sendto(host, port, data, flags): sends a datagram. Returns how many bytes it has sent; or nil, errno. */
int mb_tarantool_method_sendto(lua_State *L) {
  struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  struct mb_addr to;
  size_t size;
  int flags;
  const char *data = luaL_optlstring(L, 4, "", &size);
  if (mb_tarantool_check_flags(L, 5, mb_tarantool_message_flags, &flags) < 0)
    return mb_tarantool_push_error(L, -EINVAL);
  if (s->handle) return mb_tarantool_push_error(L, -EISCONN);
  int r = mb_tarantool_check_address(L, 2, s->domain, &to);
  if (r < 0) return mb_tarantool_push_error(L, r);
  return push_sent(L, send_to(s, data, size, flags, &to));
}
