/*
 * client:receive(). Received bytes stay in the handle's buffer until the pattern is met, the connection ends
 * or the time is up. The next call, or the native socket, finds there the bytes that a call leaves.
 */
#include <errno.h>
#include <lauxlib.h>
#include <stdint.h>
#include <string.h>

#include "api/luasocket/luasocket_methods.h"
#include "api/luasocket/luasocket_object.h"
#include "socket/handle_methods.h"

enum pattern { LINE, ALL, COUNT };

struct request {
  enum pattern pattern;
  size_t count;       /* of COUNT: bytes, without the prefix */
  const char *prefix; /* at index 3 */
  size_t prefix_len;
};

/* Reads (client, pattern, prefix); throws when they are wrong. */
static struct request request_at(lua_State *L) {
  struct request r = {.pattern = LINE};
  r.prefix = luaL_optlstring(L, 3, "", &r.prefix_len);
  if (lua_isnumber(L, 2)) {
    lua_Number n = lua_tonumber(L, 2);
    luaL_argcheck(L, n >= 0, 2, "invalid receive pattern");
    size_t count = n < 9e15 ? (size_t)n : SIZE_MAX;
    r.pattern = COUNT;
    r.count = count > r.prefix_len ? count - r.prefix_len : 0;
    return r;
  }
  const char *pattern = luaL_optstring(L, 2, "*l");
  bool all = strncmp(pattern, "*a", 2) == 0;
  luaL_argcheck(L, all || strncmp(pattern, "*l", 2) == 0, 2, "invalid receive pattern");
  r.pattern = all ? ALL : LINE;
  return r;
}

/*
 * Returns how many bytes of the buffer the request takes. *ret_met tells whether they are enough. A request
 * for no bytes still waits for one, unless there is a prefix; the original does the same.
 */
static size_t length_met(const struct request *r, struct mb_handle *h, bool *ret_met) {
  size_t len = mb_buf_len(&h->in), found = 0;
  *ret_met = false;
  switch (r->pattern) {
    case LINE:
      found = mb_buf_find(&h->in, '\n', len);
      *ret_met = found > 0;
      return found;
    case ALL:
      *ret_met = h->in_eof && len > 0;
      return len;
    case COUNT:
      *ret_met =
          (r->count > 0 && len >= r->count) || (r->count == 0 && (len > 0 || r->prefix_len > 0));
      return r->count;
  }
  return 0;
}

/* ---- receiving ---- */

/* Receives once. Returns the number of bytes, 0 at the end, -EAGAIN at the deadline, or -errno. */
static ssize_t receive_some(lua_State *L, const struct mb_luasocket *s, size_t wanted,
                            int64_t start) {
  struct mb_handle *h = s->h;
  for (;;) {
    if (!mb_handle_is_open(h)) return -EBADF;
    if (h->in_eof) return 0;
    ssize_t n = mb_handle_receive(L, h, wanted, mb_luasocket_waits(s));
    if (n != -EAGAIN) return n;
    if (s->block == 0) {
      /* The peer may wait for our output. The next write reports a failure. */
      mb_handle_send_queue(h, false);
      return -EAGAIN;
    }
    int r = mb_handle_wait_for_input(h, mb_luasocket_deadline(s, start));
    if (r < 0) return r;
  }
}

/* ---- the result ---- */

/* Copies a line without its CRs and the LF. Returns how many bytes it has copied. */
static size_t copy_line(char *to, const char *from, size_t len) {
  size_t n = 0;
  if (len > 0 && from[len - 1] == '\n') len--;
  for (const char *end = from + len; from < end;) {
    const char *cr = memchr(from, '\r', (size_t)(end - from));
    size_t span = (size_t)((cr ? cr : end) - from);
    memcpy(to + n, from, span);
    n += span;
    from += span + 1;
  }
  return n;
}

/*
 * Returns whether the bytes are a line without a CR except one at its end, so that the result is a part of
 * the buffer: *len bytes without the CR and the LF.
 */
static bool is_plain(const char *bytes, size_t *len) {
  size_t n = *len;
  if (n > 0 && bytes[n - 1] == '\n') n--;
  if (n > 0 && bytes[n - 1] == '\r') n--;
  if (n > 0 && memchr(bytes, '\r', n)) return false;
  *len = n;
  return true;
}

/* Pushes the prefix and the first `len` bytes of the buffer, and takes those bytes. */
static void push_received(lua_State *L, struct mb_luasocket *s, const struct request *r,
                          size_t len) {
  struct mb_buf *in = &s->h->in;
  bool line = r->pattern == LINE;
  size_t plain = len;
  if (len == 0) {
    lua_pushlstring(L, r->prefix, r->prefix_len);
    return;
  }
  if (r->prefix_len == 0 && (!line || is_plain(mb_buf_bytes(in), &plain))) {
    /* The bytes are taken first: the push may run the script's finalizers, which may read or close. */
    const char *bytes = mb_buf_bytes(in);
    mb_buf_take(in, len);
    s->received += len;
    lua_pushlstring(L, bytes, plain);
    return;
  }
  luaL_Buffer result;
  char *to = luaL_buffinitsize(L, &result, r->prefix_len + len);
  if (len > mb_buf_len(in)) len = mb_buf_len(in); /* a finalizer may have taken some */
  memcpy(to, r->prefix, r->prefix_len);
  to += r->prefix_len;
  const char *bytes = mb_buf_bytes(in);
  plain = len;
  if (line) {
    plain = copy_line(to, bytes, len);
  } else if (len > 0) {
    memcpy(to, bytes, len);
  }
  mb_buf_take(in, len);
  s->received += len;
  luaL_pushresultsize(&result, r->prefix_len + plain);
}

/*
 * client:receive([pattern [, prefix]])
 * Returns the prefix and the received bytes; or nil, message ("closed", "timeout"), and the prefix with the
 * bytes that have come until then.
 */
int mb_luasocket_method_receive(lua_State *L) {
  struct mb_luasocket *s = mb_luasocket_check(L, MB_LUASOCKET_CLIENT);
  struct request request = request_at(L);
  struct mb_handle *h = s->h;
  int64_t start = mb_luasocket_start(s);
  ssize_t n = 1;
  bool met;
  size_t len;
  lua_settop(L, 3);
  h->in_short = false;
  for (;;) {
    if (request.pattern == LINE) mb_handle_end_tls(h);
    len = length_met(&request, h, &met);
    if (met || n <= 0) break;
    size_t wanted = request.count > mb_buf_len(&h->in) ? request.count - mb_buf_len(&h->in) : 1;
    if (request.pattern != COUNT) wanted = SIZE_MAX;
    n = receive_some(L, s, wanted, start);
  }
  if (met) {
    push_received(L, s, &request, len);
    lua_pushnil(L);
    lua_pushnil(L);
    return 3;
  }
  lua_pushnil(L);
  lua_pushstring(L, mb_luasocket_io_error((int)n));
  push_received(L, s, &request, mb_buf_len(&h->in));
  return 3;
}
