/*
 * client:send() and shutdown(). Output is not buffered: when send returns, the system has all bytes that it
 * reports as sent. Output that the native socket has queued goes first.
 */
#include <errno.h>
#include <lauxlib.h>
#include <math.h>

#include "api/luasocket/luasocket_methods.h"
#include "api/luasocket/luasocket_object.h"
#include "socket/handle_methods.h"

/* Sends the queue. Returns 0, -EAGAIN at the deadline, or -errno. */
static int send_queued(const struct mb_luasocket *s, int64_t start) {
  struct mb_handle *h = s->h;
  while (h->out.len > 0) {
    int r = mb_handle_send_queue(h, mb_luasocket_waits(s));
    if (r < 0) return r;
    if (h->out.len == 0) break;
    r = mb_luasocket_wait_for_output(s, start);
    if (r < 0) return r;
  }
  return 0;
}

/* Returns 0 when output can be sent, otherwise the reason as -errno. */
static int refusal(const struct mb_luasocket *s) {
  const struct mb_handle *h = s->h;
  if (!mb_handle_is_open(h)) return -EBADF;
  if (h->state == MB_HANDLE_FINISHED || s->ended) return -EPIPE;
  return -h->out_error;
}

/* Sends bytes; *sent counts those that the system takes. Returns 0, -EAGAIN at the deadline, or -errno. */
static int send_bytes(struct mb_luasocket *s, const char *data, size_t len, size_t *sent) {
  struct mb_handle *h = s->h;
  int64_t start = mb_luasocket_start(s);
  int r = refusal(s);
  if (r == 0 && h->out.len > 0) r = send_queued(s, start);
  while (r == 0 && *sent < len) {
    ssize_t n = mb_handle_send_now(h, data + *sent, len - *sent, 0, mb_luasocket_waits(s));
    if (n == -EAGAIN) {
      r = mb_luasocket_wait_for_output(s, start);
    } else if (n < 0) {
      r = (int)n;
    } else {
      *sent += (size_t)n;
    }
  }
  s->sent += *sent;
  return r;
}

/* Clips two positions, which mean the same as those of string.sub, to 1…len. */
static void clip(lua_Number *first, lua_Number *last, size_t len) {
  lua_Number size = (lua_Number)len;
  if (*first < 0) *first += size + 1;
  if (*last < 0) *last += size + 1;
  if (!(*first >= 1)) *first = 1;
  if (!(*last <= size)) *last = size;
}

/*
 * client:send(data [, i [, j]])
 * Returns the index of the last byte that was sent; or nil, message ("closed", "timeout"), and that
 * index.
 */
int mb_luasocket_method_send(lua_State *L) {
  struct mb_luasocket *s = mb_luasocket_check(L, MB_LUASOCKET_CLIENT);
  size_t len, sent = 0;
  const char *data = luaL_checklstring(L, 2, &len);
  lua_Number first = lua_isnoneornil(L, 3) ? 1 : trunc(luaL_checknumber(L, 3));
  lua_Number last = lua_isnoneornil(L, 4) ? -1 : trunc(luaL_checknumber(L, 4));
  clip(&first, &last, len);
  int r = 0;
  if (first <= last) {
    r = send_bytes(s, data + (size_t)first - 1, (size_t)(last - first + 1), &sent);
  }
  if (r < 0) {
    lua_pushnil(L);
    lua_pushstring(L, mb_luasocket_io_error(r));
    lua_pushnumber(L, (lua_Number)sent + first - 1);
  } else {
    lua_pushnumber(L, (lua_Number)sent + first - 1);
    lua_pushnil(L);
    lua_pushnil(L);
  }
  return 3;
}

static void end_output(struct mb_luasocket *s) {
  struct mb_handle *h = s->h;
  if (h->out.len > 0) mb_handle_send_queue(h, true);
  mb_handle_end_output(h);
  s->ended = true;
}

/*
 * client:shutdown([mode])
 * mode: "both", "send" or "receive". Returns 1.
 */
int mb_luasocket_method_shutdown(lua_State *L) {
  static const char *const modes[] = {"both", "send", "receive", NULL};
  struct mb_luasocket *s = mb_luasocket_check(L, MB_LUASOCKET_CLIENT);
  int mode = luaL_checkoption(L, 2, "both", modes);
  if (mb_handle_is_open(s->h)) {
    if (mode != 2) end_output(s);
    if (mode != 1) mb_handle_end_input(s->h);
  }
  return mb_luasocket_done(L);
}
