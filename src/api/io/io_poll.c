/* moonbridge_io.poll: turns the script's sets into one poll set, and its outcome into results. */
#include "api/io/io_poll.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdio.h>

#include "api/io/io_child.h"
#include "api/io/io_ready.h"
#include "base/fdio.h"
#include "base/sigterm.h"
#include "socket/handle.h"
#include "socket/handle_over.h"
#include "socket/listener_object.h"
#include "socket/poll_set.h"
#include "state/io_args.h"

/*
 * moonbridge_io.catch_sigterm()
 * From now on SIGTERM does not end the process, but can wake poll.
 */
int mb_io_catch_sigterm(lua_State *L) {
  (void)L;
  mb_sigterm_catch();
  return 0;
}

/* Indices on the stack: the arguments, then the poll set, a userdata. */
enum { INPUT_SET = 1, OUTPUT_SET, TIMEOUT, WAKEUP_ON_SIGTERM, READY, POLLED };

#define CAPACITY_FIRST 32

/* ---- the poll set, kept from call to call: a handler that multiplexes polls all the time ---- */

static char kept; /* its address is the key of the set in the registry, between calls */

static struct mb_poll_set *push_new(lua_State *L, size_t capacity) {
  struct mb_poll_set *set = lua_newuserdata(L, mb_poll_set_size(capacity));
  mb_poll_set_init(set, capacity);
  return set;
}

/* Pushes the set and takes it out of the registry, so that a finalizer that polls gets a set of its own. */
static struct mb_poll_set *take(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &kept) != LUA_TUSERDATA) {
    lua_pop(L, 1);
    return push_new(L, CAPACITY_FIRST);
  }
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kept);
  struct mb_poll_set *set = lua_touserdata(L, POLLED);
  mb_poll_set_clear(set);
  return set;
}

static void give_back(lua_State *L) {
  lua_pushvalue(L, POLLED);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kept);
}

/* ---- the script's sets. Nothing here allocates, so no finalizer can close an added element ---- */

/* Returns whether the value is what should have been the key: {socket}, but not {[socket.fd] = socket}. */
static bool is_misplaced(lua_State *L, int value, lua_Integer fd) {
  if (!lua_isuserdata(L, value)) return false;
  const struct mb_handle *h = mb_handle_below(L, value);
  struct mb_child *child;
  if (h) return !mb_handle_has_fd(h, fd);
  if (mb_io_child_test(L, value, &child)) return true;
  int listener = mb_listener_object_fd(L, value);
  return listener >= 0 && listener != fd;
}

static void add_number(lua_State *L, struct mb_poll_set *set, int argument, int key, short wanted) {
  lua_Integer fd = lua_tointeger(L, key);
  if (!lua_isinteger(L, key) || fd < 0 || fd > INT_MAX)
    luaL_argerror(L, argument, "a number in it is no file descriptor");
  if (is_misplaced(L, key + 1, fd))
    luaL_argerror(L, argument, "expected {[socket] = true}, not {socket}");
  mb_poll_set_add_fd(set, (int)fd, wanted);
}

static void add_handle(lua_State *L, struct mb_poll_set *set, struct mb_handle *h, short wanted) {
  mb_handle_check_open(L, h);
  if (wanted & POLLOUT) mb_handle_check_output(L, h);
  mb_poll_set_add_handle(set, h, wanted);
}

/* Adds the element whose key is at index `key`; throws when the key cannot be polled. */
static void add_element(lua_State *L, struct mb_poll_set *set, int argument, int key,
                        short wanted) {
  struct mb_handle *h = mb_handle_below(L, key);
  struct mb_child *child;
  int fd;
  if (h) {
    add_handle(L, set, h, wanted);
  } else if (lua_type(L, key) == LUA_TNUMBER) {
    add_number(L, set, argument, key, wanted);
  } else if (wanted & POLLOUT) {
    luaL_argerror(L, argument, "expected sockets and file descriptors as keys");
  } else if (mb_io_child_test(L, key, &child)) {
    mb_poll_set_add_child(set, child);
  } else if ((fd = mb_listener_object_fd(L, key)) >= 0) {
    mb_poll_set_add_fd(set, fd, POLLIN);
  } else {
    luaL_argerror(L, argument,
                  "expected sockets, listeners, children and file descriptors as keys");
  }
}

/* Returns whether a socket or descriptor is an element of the set `argument` too. */
static bool is_in_too(lua_State *L, int key, int argument) {
  if (!lua_istable(L, argument) || !(mb_handle_below(L, key) || lua_isinteger(L, key)))
    return false;
  lua_pushvalue(L, key);
  lua_rawget(L, argument);
  bool in = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return in;
}

/*
 * Adds the elements of one of the script's sets. An element of both sets is added once, with the input set:
 * poll(2) takes no more places than the process may have descriptors.
 */
static void add_set(lua_State *L, struct mb_poll_set *set, int argument) {
  bool input = argument == INPUT_SET;
  if (!lua_istable(L, argument)) return;
  for (lua_pushnil(L); lua_next(L, argument); lua_pop(L, 1)) {
    if (!lua_toboolean(L, -1)) continue;
    int key = lua_gettop(L) - 1;
    bool both = is_in_too(L, key, input ? OUTPUT_SET : INPUT_SET);
    if (!both) {
      add_element(L, set, argument, key, input ? POLLIN : POLLOUT);
    } else if (input) {
      add_element(L, set, argument, key, POLLIN | POLLOUT);
    }
  }
}

/* Pushes a poll set with the elements of both sets. */
static struct mb_poll_set *push_filled(lua_State *L) {
  struct mb_poll_set *set = take(L);
  for (;;) {
    add_set(L, set, INPUT_SET);
    add_set(L, set, OUTPUT_SET);
    size_t needed = mb_poll_set_lacks(set);
    if (needed == 0) return set;
    lua_settop(L, POLLED - 1);
    set = push_new(L, needed + needed / 2);
  }
}

/* ---- the function ---- */

static int64_t deadline_at(lua_State *L, int index) {
  if (lua_isnoneornil(L, index)) return MB_NO_DEADLINE;
  lua_Number seconds = luaL_checknumber(L, index);
  luaL_argcheck(L, seconds >= 0, index, "expected a number of seconds, 0 or more");
  return mb_now_usec() + mb_usec_of(seconds);
}

static void check_set(lua_State *L, int index) {
  if (!lua_isnil(L, index)) luaL_checktype(L, index, LUA_TTABLE);
}

static int push_nothing(lua_State *L, const char *why) {
  lua_pushboolean(L, 0);
  lua_pushstring(L, why);
  return 2;
}

static int push_outcome(lua_State *L, int r, bool wakeup_on_sigterm, int bad_fd) {
  if (r > 0) {
    lua_pushboolean(L, 1);
    return 1;
  }
  if (r == 0) return push_nothing(L, "timeout");
  if (r == -EINTR && wakeup_on_sigterm && mb_sigterm_has_come()) {
    push_nothing(L, "SIGTERM received");
    lua_pushboolean(L, 1);
    return 3;
  }
  if (r == -EINTR) return push_nothing(L, "signal received");
  char what[64] = "poll";
  if (bad_fd >= 0) {
    snprintf(what, sizeof what, "file descriptor %d", bad_fd);
  } else if (r == -EINVAL) {
    snprintf(what, sizeof what, "poll: more elements than RLIMIT_NOFILE");
  }
  return mb_io_push_error(L, what, r);
}

/*
 * moonbridge_io.poll(input_set, output_set, timeout, wakeup_on_sigterm, ready)
 * Waits until an element of the input set can be read from or accepted from, or has ended, or until an
 * element of the output set can be written to. The elements are the keys of the sets; an element whose value
 * is false does not count. timeout is in seconds; nil means for ever. ready, a table, gets "r", "w" or "rw" for
 * each element that is ready, and loses everything else.
 * Returns true, and ready; or false and "timeout" or "signal received"; or false, "SIGTERM received" and true;
 * or nil, message, errno.
 * Source: reference, "moonbridge_io.poll".
 */
int mb_io_poll(lua_State *L) {
  lua_settop(L, POLLED - 1);
  check_set(L, INPUT_SET);
  check_set(L, OUTPUT_SET);
  check_set(L, READY);
  int64_t deadline = deadline_at(L, TIMEOUT);
  bool wakeup_on_sigterm = lua_toboolean(L, WAKEUP_ON_SIGTERM);
  if (wakeup_on_sigterm) mb_sigterm_catch();
  struct mb_poll_set *set = push_filled(L);
  int bad_fd = -1;
  int r = mb_poll_set_wait(set, deadline, wakeup_on_sigterm, &bad_fd);
  give_back(L);
  if (lua_istable(L, READY)) {
    mb_io_ready_empty(L, READY);
    if (r > 0) {
      mb_io_ready_fill(L, INPUT_SET, OUTPUT_SET, READY);
      lua_pushboolean(L, 1);
      lua_pushvalue(L, READY);
      return 2;
    }
  }
  return push_outcome(L, r, wakeup_on_sigterm, bad_fd);
}
