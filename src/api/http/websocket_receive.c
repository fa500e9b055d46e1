/* websocket:receive and its forms, and the wait for the peer. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "api/http/websocket.h"
#include "base/clock.h"
#include "base/drain.h"
#include "base/fdio.h"
#include "socket/handle_methods.h"
#include "state/state.h"

/* How many bytes a receive asks for at most. */
enum { RECEIVE_BYTES = 65536 };

/*
 * So often a call receives before it looks at the time, and before one that does not wait returns: a peer that sends
 * pings or fragments without end may not hold it.
 */
enum { RECEIVES_MAX = 16 };

/* Pushes nil and why no message comes: "closed", or what is wrong; the status code; the reason of the peer. */
static int push_end(lua_State *L, const struct mb_websocket *w) {
  unsigned code = w->close_code ? w->close_code : MB_WEBSOCKET_LOST;
  lua_pushnil(L);
  lua_pushstring(L, w->wrong[0] ? w->wrong : "closed");
  lua_pushinteger(L, (lua_Integer)code);
  lua_pushlstring(L, w->close_reason, w->close_reason_size);
  return 4;
}

static int push_nil(lua_State *L, const char *why) {
  lua_pushnil(L);
  lua_pushstring(L, why);
  return 2;
}

/* The system's limit of a wait is set once, so a wait may be longer than what is due by so many microseconds. */
enum { SLACK_USEC = 1000000 };

/* Without pings, a wait ends in any case after so long: an hour. */
#define LONG_USEC (INT64_C(3600) * 1000000)

/*
 * Returns for how long a receive may wait, in microseconds: until a ping is due, when nothing else is to be waited for.
 * 0: it may not.
 */
static int64_t may_wait(const struct mb_websocket *w) {
  if (w->state != MB_WEBSOCKET_OPEN || w->pinged || mb_drain_fd() >= 0) return 0;
  if (!w->ping_interval) return LONG_USEC;
  return mb_now_usec() - w->heard < SLACK_USEC ? w->ping_interval : 0;
}

/*
 * Receives once. waits: it may wait, if that costs less than to look and to wait then.
 * Returns whether something has come, or the connection has ended.
 */
static bool receive(lua_State *L, struct mb_websocket *w, bool waits) {
  struct mb_handle *h = w->over.handle;
  uint64_t before = h->received;
  int64_t usec = waits ? may_wait(w) : 0;
  ssize_t n = usec ? mb_handle_receive_within(L, h, RECEIVE_BYTES, usec)
                   : mb_handle_receive(L, h, RECEIVE_BYTES, false);
  /* When a finalizer has received meanwhile, even up to the end, that has to be looked at first. */
  if (n <= 0 && h->received != before) return true;
  if (n == -EAGAIN) return false;
  if (n > 0) {
    w->heard = w->ping_interval ? mb_now_usec() : 0;
    w->pinged = 0;
  } else {
    mb_websocket_lose(w, n == 0 ? "the connection has ended without a close" : strerror((int)-n));
  }
  return true;
}

/* ---- what is due while nothing comes ---- */

/* Returns when the object has to do something by itself, or MB_NO_DEADLINE. */
static int64_t next_due(const struct mb_websocket *w) {
  int64_t due = MB_NO_DEADLINE;
  if (w->state == MB_WEBSOCKET_CLOSED) return due;
  if (w->ping_interval) due = (w->pinged ? w->pinged : w->heard) + w->ping_interval;
  if (w->state == MB_WEBSOCKET_CLOSING && w->close_timeout && w->closing + w->close_timeout < due)
    due = w->closing + w->close_timeout;
  return due;
}

/* Returns whether the peer has had its time to answer our close. It may go on sending, but nobody listens for ever. */
static bool is_late(const struct mb_websocket *w) {
  return w->state == MB_WEBSOCKET_CLOSING && w->close_timeout &&
         w->closing + w->close_timeout <= mb_now_usec();
}

/* Does what is due. A peer that does not answer is lost. */
static void do_due(lua_State *L, struct mb_websocket *w) {
  int64_t now = mb_now_usec();
  if (next_due(w) > now) return;
  if (is_late(w)) {
    mb_websocket_lose(w, "the peer has not answered the close");
  } else if (w->pinged) {
    mb_websocket_lose(w, "the peer has not answered a ping");
  } else {
    w->pinged = now;
    mb_websocket_send_control(L, w, MB_WEBSOCKET_PING, NULL, 0);
  }
}

/* Waits once, for input, for room for output, for the end of the process, or for what is due. */
static void wait_once(lua_State *L, struct mb_websocket *w, int64_t deadline) {
  struct mb_handle *h = w->over.handle;
  struct pollfd fds[3];
  short wanted = h->out.len > 0 ? POLLIN | POLLOUT : POLLIN;
  struct mb_interest interest = mb_handle_interest(h, wanted, true);
  if (interest.ready) return;
  memcpy(fds, interest.fds, sizeof interest.fds);
  bool asks = mb_drain_fd() >= 0 && !mb_drain_begun();
  if (asks) fds[interest.count] = (struct pollfd){.fd = mb_drain_fd(), .events = POLLIN};
  int64_t due = next_due(w);
  int r = mb_fd_poll_once(fds, (size_t)interest.count + asks, due < deadline ? due : deadline);
  if (r < 0 && r != -EINTR) luaL_error(L, "websocket: poll: %s", strerror(-r));
  if (h->out.len > 0) mb_handle_send_queue(h, false);
}

/* ---- the methods ---- */

enum { MESSAGE = 1, ENDED, BLOCKED };

/* A message is on the stack. Returns MESSAGE, or drops it and returns ENDED when it comes too late. */
static int end_message(lua_State *L, struct mb_websocket *w) {
  w->over.handle->in_short = false; /* behind it there may be another */
  if (!is_late(w)) return MESSAGE;
  lua_pop(L, 2);
  mb_websocket_lose(w, "the peer has not answered the close");
  return ENDED;
}

static int end(struct mb_websocket *w) {
  if (!mb_handle_is_open(w->over.handle)) mb_websocket_lose(w, "the socket is closed");
  return ENDED;
}

static void send_on(struct mb_handle *h) {
  if (h->out.len > 0 && h->state == MB_HANDLE_OPEN) mb_handle_send_queue(h, false);
}

/* Takes a message, and receives for it what is there. waits: as for receive(). */
static int receive_message(lua_State *L, struct mb_websocket *w, bool waits) {
  struct mb_handle *h = w->over.handle;
  if (mb_drain_begun() && w->state == MB_WEBSOCKET_OPEN)
    mb_websocket_send_close(L, w, MB_WEBSOCKET_GOING_AWAY, NULL, 0);
  for (int receives = 0;; receives++) {
    enum mb_websocket_taken taken = mb_websocket_take(L, w);
    if (taken == MB_WEBSOCKET_MESSAGE) return end_message(L, w);
    if (taken == MB_WEBSOCKET_ENDED) return end(w);
    send_on(h); /* what was written goes out before anything is waited for */
    if (receives < RECEIVES_MAX && receive(L, w, waits)) continue;
    do_due(L, w);
    send_on(h);
    if (w->pong_wanted && h->out.len == 0 && !w->sending) continue; /* there is room for it now */
    if (w->state == MB_WEBSOCKET_CLOSED) return ENDED;
    h->in_short = true; /* what is in the buffer is not enough */
    return BLOCKED;
  }
}

static int receive_now(lua_State *L, struct mb_websocket *w) {
  return receive_message(L, w, false);
}

/*
 * websocket:receive([seconds])
 * Waits for a message. Returns it, and "text" or "binary"; nil and "timeout" after so many seconds; or nil, why no
 * message comes any more ("closed", or what went wrong), the status code of the close, and its reason.
 */
static int method_receive(lua_State *L) {
  struct mb_websocket *w = mb_websocket_at(L, 1);
  int64_t deadline = MB_NO_DEADLINE;
  if (!lua_isnoneornil(L, 2)) {
    lua_Number seconds = luaL_checknumber(L, 2);
    luaL_argcheck(L, seconds >= 0, 2, "expected a number of seconds");
    if (seconds <= MB_SECONDS_MAX) deadline = mb_now_usec() + mb_usec_of(seconds);
  }
  for (;;) {
    int outcome = receive_message(L, w, deadline == MB_NO_DEADLINE);
    if (outcome == MESSAGE) return 2;
    if (outcome == ENDED) return push_end(L, w);
    if (deadline != MB_NO_DEADLINE && mb_now_usec() >= deadline) return push_nil(L, "timeout");
    wait_once(L, w, deadline);
  }
}

/* websocket:receive_nb(): does not wait; nil and "block" when no message is there. */
static int method_receive_nb(lua_State *L) {
  struct mb_websocket *w = mb_websocket_at(L, 1);
  int outcome = receive_now(L, w);
  if (outcome == MESSAGE) return 2;
  return outcome == ENDED ? push_end(L, w) : push_nil(L, "block");
}

static int receive_loop(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  for (;;) {
    lua_settop(L, 2);
    struct mb_websocket *w = mb_websocket_at(L, 1);
    int outcome = receive_now(L, w);
    if (outcome == MESSAGE) return 2;
    if (outcome == ENDED) return push_end(L, w);
    lua_pushvalue(L, 2);
    lua_callk(L, 0, 0, 0, receive_loop);
  }
}

/* websocket:receive_call(waitfunc): works as receive; calls waitfunc() as long as no message is there. */
static int method_receive_call(lua_State *L) {
  mb_websocket_at(L, 1);
  mb_state_check_callable(L, 2);
  return receive_loop(L, LUA_OK, 0);
}

/* websocket:receive_yield() */
static int method_receive_yield(lua_State *L) {
  mb_websocket_at(L, 1);
  mb_state_insert_yield(L, 2);
  return method_receive_call(L);
}

/* The iterator: what it was called with before, the last message, does not matter. */
static int next_message(lua_State *L) {
  lua_settop(L, 1);
  return method_receive(L);
}

/* websocket:messages(): for message, kind in websocket:messages() do … end */
static int method_messages(lua_State *L) {
  mb_websocket_at(L, 1);
  lua_pushcfunction(L, next_message);
  lua_pushvalue(L, 1);
  return 2;
}

/*
 * websocket:timeout()
 * Returns after how many seconds receive_nb has something to do or to say even if nothing comes: a ping, a close that
 * is not answered, the close of a process that is to end, the end. nil: never. Source: the name is that of the
 * scheduler's.
 */
static int method_timeout(lua_State *L) {
  const struct mb_websocket *w = mb_websocket_at(L, 1);
  bool now_due =
      w->state == MB_WEBSOCKET_CLOSED || (w->state == MB_WEBSOCKET_OPEN && mb_drain_begun());
  int64_t due = now_due ? 0 : next_due(w), now = mb_now_usec();
  if (due == MB_NO_DEADLINE) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushnumber(L, due > now ? (lua_Number)(due - now) / 1e6 : 0);
  return 1;
}

/* ---- the closing handshake ---- */

/* Sends a close with the code and the reason at an index and behind it, unless one was sent. */
static void begin_close(lua_State *L, struct mb_websocket *w, int index) {
  lua_Integer code = luaL_optinteger(L, index, MB_WEBSOCKET_NORMAL);
  size_t size;
  const char *reason = luaL_optlstring(L, index + 1, "", &size);
  struct mb_utf8 utf8 = {0};
  luaL_argcheck(L, code > 0 && code < 5000 && mb_websocket_may_close_with((unsigned)code), index,
                "expected a status code such as 1000, or one from 3000 to 4999");
  luaL_argcheck(L, size <= MB_WEBSOCKET_CONTROL_MAX - 2, index + 1,
                "a reason has at most 123 bytes");
  luaL_argcheck(L, mb_utf8_take(&utf8, reason, size) && mb_utf8_is_whole(&utf8), index + 1,
                "a reason is UTF-8");
  if (w->state == MB_WEBSOCKET_OPEN) mb_websocket_send_close(L, w, (unsigned)code, reason, size);
}

/* Drops a message that has come, or looks for the peer's close. Leaves `top` values on the stack. */
static int await_close(lua_State *L, struct mb_websocket *w, int top) {
  int outcome = receive_now(L, w);
  lua_settop(L, top);
  return outcome;
}

static int push_closed(lua_State *L, const struct mb_websocket *w) {
  if (w->wrong[0]) return push_nil(L, w->wrong);
  lua_pushboolean(L, 1);
  return 1;
}

/*
 * websocket:close([code[, reason]])
 * Sends a close, and waits until the peer has answered it, at most close_timeout; messages that come meanwhile are
 * dropped.
 * Returns true; or nil and why the close was not answered.
 */
static int method_close(lua_State *L) {
  struct mb_websocket *w = mb_websocket_at(L, 1);
  int outcome;
  begin_close(L, w, 2);
  while ((outcome = await_close(L, w, 1)) != ENDED)
    if (outcome == BLOCKED) wait_once(L, w, MB_NO_DEADLINE);
  return push_closed(L, w);
}

/*
 * websocket:close_nb([code[, reason]])
 * Sends a close unless one was sent, and does not wait for the answer.
 * Returns true when the peer has answered it; nil and "block" as long as it has not; or nil and why it will not.
 */
static int method_close_nb(lua_State *L) {
  struct mb_websocket *w = mb_websocket_at(L, 1);
  begin_close(L, w, 2);
  for (int messages = 0; messages < RECEIVES_MAX; messages++) {
    int outcome = await_close(L, w, 1);
    if (outcome == ENDED) return push_closed(L, w);
    if (outcome == BLOCKED) break;
  }
  return push_nil(L, "block");
}

static int close_loop(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  for (;;) {
    lua_settop(L, 2);
    struct mb_websocket *w = mb_websocket_at(L, 1);
    if (await_close(L, w, 2) == ENDED) return push_closed(L, w);
    lua_pushvalue(
        L, 2); /* after a message as well: a peer that sends without end may not hold the others */
    lua_callk(L, 0, 0, 0, close_loop);
  }
}

/* websocket:close_call(waitfunc[, code[, reason]]): works as close; calls waitfunc() as long as the answer is not there. */
static int method_close_call(lua_State *L) {
  struct mb_websocket *w = mb_websocket_at(L, 1);
  mb_state_check_callable(L, 2);
  begin_close(L, w, 3);
  return close_loop(L, LUA_OK, 0);
}

/* websocket:close_yield([code[, reason]]) */
static int method_close_yield(lua_State *L) {
  struct mb_websocket *w = mb_websocket_at(L, 1);
  begin_close(L, w, 2);
  mb_state_insert_yield(L, 2);
  return close_loop(L, LUA_OK, 0);
}

const luaL_Reg mb_websocket_receive_methods[] = {
    {"close", method_close},
    {"close_call", method_close_call},
    {"close_nb", method_close_nb},
    {"close_yield", method_close_yield},
    {"messages", method_messages},
    {"receive", method_receive},
    {"receive_call", method_receive_call},
    {"receive_nb", method_receive_nb},
    {"receive_yield", method_receive_yield},
    {"timeout", method_timeout},
    {NULL, NULL},
};
