/*
 * moonbridge_io.poll. One poll(2) over everything, whose array is kept from call to call: a handler
 * that multiplexes calls it all the time.
 */
#include "io_poll.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "child.h"
#include "fdio.h"
#include "handle.h"
#include "io_args.h"
#include "io_child.h"
#include "io_listener.h"

#define CAPACITY_FIRST 32

/* ---- SIGTERM ---- */

static volatile sig_atomic_t sigterm_caught; /* it has come */

static void note_sigterm(int signal_number) {
  (void)signal_number;
  sigterm_caught = 1;
}

static void catch_sigterm(void) {
  static bool done;
  if (done) return;
  done = true;
  const struct sigaction action = {.sa_handler = note_sigterm, .sa_flags = SA_RESTART};
  sigaction(SIGTERM, &action, NULL);
  sigset_t set; /* the parent may have blocked it */
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/*
 * moonbridge_io.catch_sigterm()
 * From now on SIGTERM does not end the process: poll can be woken by it.
 */
int mb_io_catch_sigterm(lua_State *L) {
  (void)L;
  catch_sigterm();
  return 0;
}

/* ---- what is polled ---- */

/* An element of which poll(2) alone cannot tell whether it is ready: one of these two. */
struct special {
  struct mb_child *child;       /* has no descriptor */
  struct mb_handle *connecting; /* not connected yet: polled until that is decided */
  size_t at;                    /* the index of its descriptor */
  short wanted;                 /* what the script waits for when it is connected */
};

/* A userdata: the array for poll(2), and behind it what is special. */
struct polled {
  size_t capacity; /* of both arrays */
  size_t count, special_count;
  bool ready; /* something need not be waited for */
  bool any_child;
  struct special *specials;
  struct pollfd fds[];
};

static char kept; /* its address is the registry's key of the array, between calls */

/* The places on the stack: the arguments, and the array. */
enum { INPUT_SET = 1, OUTPUT_SET, TIMEOUT, WAKEUP_ON_SIGTERM, POLLED };

static struct polled *push_new(lua_State *L, size_t capacity) {
  struct polled *p;
  p = lua_newuserdata(L, sizeof *p + capacity * (sizeof *p->fds + sizeof *p->specials));
  memset(p, 0, sizeof *p);
  p->capacity = capacity;
  p->specials = (struct special *)(p->fds + capacity);
  return p;
}

/* Pushes the array, and is its only owner: a finalizer that polls gets one of its own. */
static void take(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &kept) == LUA_TUSERDATA) {
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &kept);
    struct polled *p = lua_touserdata(L, POLLED);
    p->count = p->special_count = 0;
    p->ready = p->any_child = false;
  } else {
    lua_pop(L, 1);
    push_new(L, CAPACITY_FIRST);
  }
}

static void give_back(lua_State *L) {
  lua_pushvalue(L, POLLED);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kept);
}

/* The array, with room for one more. */
static struct polled *reserve(lua_State *L) {
  struct polled *old = lua_touserdata(L, POLLED);
  if (old->count < old->capacity && old->special_count < old->capacity) return old;
  struct polled *p = push_new(L, old->capacity * 2);
  p->count = old->count;
  p->special_count = old->special_count;
  p->ready = old->ready;
  p->any_child = old->any_child;
  memcpy(p->fds, old->fds, old->count * sizeof *p->fds);
  memcpy(p->specials, old->specials, old->special_count * sizeof *p->specials);
  lua_replace(L, POLLED);
  return p;
}

static void add(lua_State *L, int fd, short events) {
  struct polled *p = reserve(L);
  p->fds[p->count++] = (struct pollfd){.fd = fd, .events = events};
}

static void add_connecting(lua_State *L, struct mb_handle *h, short wanted) {
  add(L, h->in_fd, POLLOUT);
  struct polled *p = reserve(L);
  p->specials[p->special_count++] =
      (struct special){.connecting = h, .at = p->count - 1, .wanted = wanted};
}

static void set_ready(lua_State *L) { ((struct polled *)lua_touserdata(L, POLLED))->ready = true; }

static void add_handle(lua_State *L, struct mb_handle *h, short wanted) {
  mb_handle_check_open(L, h);
  if (wanted & POLLOUT) mb_handle_check_output(L, h);
  if ((wanted & POLLIN && mb_handle_has_input(h)) || (wanted & POLLOUT && h->out_error)) {
    set_ready(L);
  } else if (h->attempt) {
    add_connecting(L, h, wanted);
  } else if (h->in_fd == h->out_fd) {
    add(L, h->in_fd, wanted);
  } else {
    if (wanted & POLLIN) add(L, h->in_fd, POLLIN);
    if (wanted & POLLOUT) add(L, h->out_fd, POLLOUT);
  }
}

static void add_number(lua_State *L, int set, int key, short wanted) {
  lua_Integer fd = lua_tointeger(L, key);
  if (lua_isuserdata(L, key + 1)) luaL_argerror(L, set, "expected {[socket] = true}, not {socket}");
  if (!lua_isinteger(L, key) || fd < 0 || fd > INT_MAX)
    luaL_argerror(L, set, "a number in it is no file descriptor");
  add(L, (int)fd, wanted);
}

static void add_child(lua_State *L, struct mb_child *child) {
  if (!child) { /* its end is known */
    set_ready(L);
    return;
  }
  mb_child_catch_signal();
  struct polled *p = reserve(L);
  p->specials[p->special_count++] = (struct special){.child = child};
  p->any_child = true;
}

/* Adds the element whose key is at index `key`; throws when it is no such. */
static void add_key(lua_State *L, int set, int key, short wanted) {
  struct mb_handle *h = mb_handle_test(L, key);
  struct mb_child *child;
  int fd;
  if (h) {
    add_handle(L, h, wanted);
  } else if (lua_type(L, key) == LUA_TNUMBER) {
    add_number(L, set, key, wanted);
  } else if (wanted & POLLOUT) {
    luaL_argerror(L, set, "expected sockets and file descriptors as keys");
  } else if (mb_io_child_test(L, key, &child)) {
    add_child(L, child);
  } else if ((fd = mb_io_listener_fd(L, key)) >= 0) {
    add(L, fd, POLLIN);
  } else {
    luaL_argerror(L, set, "expected sockets, listeners, children and file descriptors as keys");
  }
}

static bool is_in_set(lua_State *L, int key, int set) {
  if (!lua_istable(L, set)) return false;
  lua_pushvalue(L, key);
  lua_rawget(L, set);
  bool in = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return in;
}

/*
 * Adds the elements of a set. One that is in both is added once, with the first: poll(2) takes no
 * more places than there may be descriptors.
 */
static void add_set(lua_State *L, int set, short events, int other_set, short other_events) {
  if (!lua_istable(L, set)) return;
  for (lua_pushnil(L); lua_next(L, set); lua_pop(L, 1)) {
    if (!lua_toboolean(L, -1)) continue;
    int key = lua_gettop(L) - 1;
    bool both = is_in_set(L, key, other_set);
    if (both && set == OUTPUT_SET) continue;
    if (both && lua_type(L, key) == LUA_TUSERDATA && !mb_handle_test(L, key))
      luaL_argerror(L, other_set, "expected sockets and file descriptors as keys");
    add_key(L, set, key, both ? events | other_events : events);
  }
}

/* ---- waiting ---- */

/* Waits once. Returns how many places have something to say, 0 at the deadline, or -errno. */
static int wait_once(struct polled *p, int64_t deadline, const sigset_t *mask) {
  struct timespec left;
  if (deadline != MB_NO_DEADLINE) {
    int64_t usec = deadline - mb_now_usec();
    if (usec < 0) usec = 0;
    left = (struct timespec){(time_t)(usec / 1000000), (long)(usec % 1000000) * 1000};
  }
  int n = ppoll(p->fds, p->count, deadline == MB_NO_DEADLINE ? NULL : &left, mask);
  return n < 0 ? -errno : n;
}

static bool any_child_has_ended(const struct polled *p) {
  for (size_t i = 0; i < p->special_count; i++) {
    if (p->specials[i].child && mb_child_has_ended(p->specials[i].child)) return true;
  }
  return false;
}

/*
 * The same, but the signals of interest are let in only while waiting: none can come unseen between
 * the look at what they tell and the wait.
 */
static int wait_for_signals_too(struct polled *p, int64_t deadline, bool wakeup_on_sigterm) {
  sigset_t signals, before;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGCHLD);
  sigprocmask(SIG_BLOCK, &signals, &before);
  int r;
  if (wakeup_on_sigterm && sigterm_caught) {
    r = -EINTR;
  } else if (p->any_child && any_child_has_ended(p)) {
    p->ready = true;
    r = 1;
  } else {
    r = wait_once(p, deadline, &before);
  }
  sigprocmask(SIG_SETMASK, &before, NULL);
  return r;
}

/*
 * Goes on connecting where poll(2) says so. Returns whether what the script waits for is there; if
 * not, the place is polled for what is still to come.
 */
static bool is_ready_after_connecting(struct pollfd *fd, const struct special *s) {
  if (!s->connecting->attempt) return true;
  int r = mb_handle_decide(s->connecting, false);
  if (r == -EAGAIN) return false;
  if (r < 0 || s->wanted & POLLOUT) return true;
  fd->events = s->wanted;
  return false;
}

/* Whether something is ready, of which poll(2) says so. Returns 1, 0, or -EBADF with *ret_fd. */
static int look(struct polled *p, int *ret_fd) {
  for (size_t i = 0; i < p->special_count; i++) {
    const struct special *s = &p->specials[i];
    struct pollfd *fd = &p->fds[s->at];
    if (s->connecting && fd->revents && !is_ready_after_connecting(fd, s)) fd->revents = 0;
  }
  int ready = 0;
  for (size_t i = 0; i < p->count; i++) {
    if (p->fds[i].revents & POLLNVAL) {
      *ret_fd = p->fds[i].fd;
      return -EBADF;
    }
    if (p->fds[i].revents) ready = 1;
  }
  return ready;
}

/* Waits for all. Returns 1 when something is ready, 0 at the deadline, -EINTR, or -errno. */
static int wait_for_all(struct polled *p, int64_t deadline, bool wakeup_on_sigterm, int *ret_fd) {
  mb_child_take_signal(); /* before: what matters is who interrupts us now */
  for (;;) {
    int r = wakeup_on_sigterm || p->any_child ? wait_for_signals_too(p, deadline, wakeup_on_sigterm)
                                              : wait_once(p, deadline, NULL);
    if (r == -EINTR && mb_child_take_signal()) continue;
    if (r <= 0 || p->ready) return r;
    r = look(p, ret_fd);
    if (r != 0) return r;
  }
}

static int64_t deadline_at(lua_State *L, int index) {
  if (lua_isnoneornil(L, index)) return MB_NO_DEADLINE;
  lua_Number seconds = luaL_checknumber(L, index);
  luaL_argcheck(L, seconds >= 0, index, "expected a number of seconds, 0 or more");
  if (seconds > MB_SECONDS_MAX) seconds = MB_SECONDS_MAX;
  return mb_now_usec() + (int64_t)ceil(seconds * 1e6);
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
  if (r == -EINTR && wakeup_on_sigterm && sigterm_caught) {
    push_nothing(L, "SIGTERM received");
    lua_pushboolean(L, 1);
    return 3;
  }
  if (r == -EINTR) return push_nothing(L, "signal received");
  char what[32] = "poll";
  if (bad_fd >= 0) snprintf(what, sizeof what, "file descriptor %d", bad_fd);
  return mb_io_push_error(L, what, r);
}

/*
 * moonbridge_io.poll(input_set, output_set, timeout, wakeup_on_sigterm)
 * Waits until one element of the input set can be read from (or accepted from, or has ended) or one
 * of the output set can be written to. The elements are the sets' keys; a value that is false takes
 * one out. timeout is in seconds; nil: none.
 * Returns true; or false and "timeout" or "signal received"; or false, "SIGTERM received" and true;
 * or nil, message, errno.
 * Source: reference, "moonbridge_io.poll".
 */
int mb_io_poll(lua_State *L) {
  lua_settop(L, POLLED - 1);
  check_set(L, INPUT_SET);
  check_set(L, OUTPUT_SET);
  int64_t deadline = deadline_at(L, TIMEOUT);
  bool wakeup_on_sigterm = lua_toboolean(L, WAKEUP_ON_SIGTERM);
  if (wakeup_on_sigterm) catch_sigterm();
  take(L);
  int bad_fd = -1;
  add_set(L, INPUT_SET, POLLIN, OUTPUT_SET, POLLOUT);
  add_set(L, OUTPUT_SET, POLLOUT, INPUT_SET, POLLIN);
  struct polled *p = lua_touserdata(L, POLLED);
  int r = 1;
  if (wakeup_on_sigterm && sigterm_caught) {
    r = -EINTR;
  } else if (!p->ready) {
    r = wait_for_all(p, deadline, wakeup_on_sigterm, &bad_fd);
  }
  give_back(L);
  return push_outcome(L, r, wakeup_on_sigterm, bad_fd);
}
