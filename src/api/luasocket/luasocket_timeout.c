/* LuaSocket's two timeouts, on the monotonic clock, and the statistics with their age. */
#include <errno.h>
#include <lauxlib.h>
#include <math.h>

#include "api/luasocket/luasocket_methods.h"
#include "api/luasocket/luasocket_object.h"
#include "base/fdio.h"

int64_t mb_luasocket_start(const struct mb_luasocket *s) {
  return mb_luasocket_waits(s) ? 0 : mb_now_usec();
}

/*
 * A block timeout alone counts from the beginning of the call; beside a total timeout it counts from
 * the beginning of each wait. The original does so too.
 */
int64_t mb_luasocket_deadline(const struct mb_luasocket *s, int64_t start) {
  bool block = s->block >= 0, total = s->total >= 0;
  if (!block && !total) return MB_NO_DEADLINE;
  if (!total) return start + mb_usec_of(s->block);
  int64_t end = start + mb_usec_of(s->total);
  if (!block) return end;
  int64_t next = mb_now_usec() + mb_usec_of(s->block);
  return next < end ? next : end;
}

/* The result of a wait, in place of that of poll(2). */
static int waited(int r) { return r == 0 ? -EAGAIN : r < 0 ? r : 0; }

int mb_luasocket_wait(const struct mb_luasocket *s, int fd, short events, int64_t start) {
  if (s->block == 0) return -EAGAIN;
  return waited(mb_fd_poll(fd, events, mb_luasocket_deadline(s, start)));
}

int mb_luasocket_wait_for_output(const struct mb_luasocket *s, int64_t start) {
  if (s->block == 0) return -EAGAIN;
  return waited(mb_handle_wait(s->h, POLLOUT, true, mb_luasocket_deadline(s, start)));
}

/*
 * object:settimeout(value [, mode])
 * value is in seconds; nil or a negative number means none. mode is "b" (block) or "t" (total); "r" is an
 * older name of "t". Returns 1.
 */
int mb_luasocket_method_settimeout(lua_State *L) {
  struct mb_luasocket *s = mb_luasocket_any(L);
  lua_Number seconds = luaL_optnumber(L, 2, -1);
  if (isnan(seconds)) seconds = 0; /* a mistake should not make a call wait for ever */
  const char *mode = luaL_optstring(L, 3, "b");
  luaL_argcheck(L, *mode == 'b' || *mode == 't' || *mode == 'r', 3, "invalid timeout mode");
  *(*mode == 'b' ? &s->block : &s->total) = seconds;
  return mb_luasocket_done(L);
}

/* object:gettimeout(): returns the block timeout and the total timeout in seconds; negative: none. */
int mb_luasocket_method_gettimeout(lua_State *L) {
  const struct mb_luasocket *s = mb_luasocket_any(L);
  lua_pushnumber(L, s->block);
  lua_pushnumber(L, s->total);
  return 2;
}

/* object:getstats(): returns bytes received, bytes sent, and the object's age in seconds. */
int mb_luasocket_method_getstats(lua_State *L) {
  const struct mb_luasocket *s = mb_luasocket_any(L);
  lua_pushnumber(L, (lua_Number)s->received);
  lua_pushnumber(L, (lua_Number)s->sent);
  lua_pushnumber(L, (lua_Number)(mb_now_usec() - s->born) / 1e6);
  return 3;
}

/* Returns the script's new value for a count; the old one when the new one is out of range. */
static uint64_t opt_count(lua_State *L, int index, uint64_t count) {
  lua_Number n = luaL_optnumber(L, index, (lua_Number)count);
  return n >= 0 && n < 9e18 ? (uint64_t)n : count;
}

/* object:setstats([received [, sent [, age]]]): sets those that are not nil. Returns 1. */
int mb_luasocket_method_setstats(lua_State *L) {
  struct mb_luasocket *s = mb_luasocket_any(L);
  uint64_t received = opt_count(L, 2, s->received);
  uint64_t sent = opt_count(L, 3, s->sent);
  lua_Number age = luaL_optnumber(L, 4, 0);
  s->received = received;
  s->sent = sent;
  if (!lua_isnoneornil(L, 4) && fabs(age) <= MB_SECONDS_MAX)
    s->born = mb_now_usec() - (int64_t)(age * 1e6);
  return mb_luasocket_done(L);
}
