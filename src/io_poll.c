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

/* A handle that is not connected yet: it is polled until that is decided. */
struct connecting {
  struct mb_handle *h; /* NULL: this place of the array is something else's */
  short wanted;        /* what the script waits for */
};

/* A userdata: the array for poll(2), and behind it what is known of each place. */
struct polled {
  size_t capacity, count;
  bool ready;          /* something need not be waited for */
  bool any_connecting; /* some handle is not connected yet */
  struct connecting *connecting;
  struct pollfd fds[];
};

static char kept; /* its address is the registry's key of the array, between calls */

/* The places on the stack: the arguments, and the array. */
enum { INPUT_SET = 1, OUTPUT_SET, TIMEOUT, WAKEUP_ON_SIGTERM, POLLED };

static struct polled *push_new(lua_State *L, size_t capacity) {
  struct polled *p;
  p = lua_newuserdata(L, sizeof *p + capacity * (sizeof *p->fds + sizeof *p->connecting));
  memset(p, 0, sizeof *p);
  p->capacity = capacity;
  p->connecting = (struct connecting *)(p->fds + capacity);
  return p;
}

/* Pushes the array, and is its only owner: a finalizer that polls gets one of its own. */
static void take(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &kept) == LUA_TUSERDATA) {
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &kept);
    struct polled *p = lua_touserdata(L, POLLED);
    p->count = 0;
    p->ready = p->any_connecting = false;
  } else {
    lua_pop(L, 1);
    push_new(L, CAPACITY_FIRST);
  }
}

static void give_back(lua_State *L) {
  lua_pushvalue(L, POLLED);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kept);
}

static struct polled *grow(lua_State *L, const struct polled *old) {
  struct polled *p = push_new(L, old->capacity * 2);
  p->count = old->count;
  p->ready = old->ready;
  p->any_connecting = old->any_connecting;
  memcpy(p->fds, old->fds, old->count * sizeof *p->fds);
  memcpy(p->connecting, old->connecting, old->count * sizeof *p->connecting);
  lua_replace(L, POLLED);
  return p;
}

static struct polled *add(lua_State *L, int fd, short events) {
  struct polled *p = lua_touserdata(L, POLLED);
  if (p->count == p->capacity) p = grow(L, p);
  p->fds[p->count] = (struct pollfd){.fd = fd, .events = events};
  p->connecting[p->count].h = NULL;
  p->count++;
  return p;
}

static void set_ready(lua_State *L) { ((struct polled *)lua_touserdata(L, POLLED))->ready = true; }

static void add_handle(lua_State *L, struct mb_handle *h, short wanted) {
  mb_handle_check_open(L, h);
  if (wanted & POLLOUT) mb_handle_check_output(L, h);
  if ((wanted & POLLIN && mb_handle_has_input(h)) || (wanted & POLLOUT && h->out_error)) {
    set_ready(L);
  } else if (h->attempt) {
    struct polled *p = add(L, h->in_fd, POLLOUT);
    p->connecting[p->count - 1] = (struct connecting){h, wanted};
    p->any_connecting = true;
  } else if (h->in_fd == h->out_fd) {
    add(L, h->in_fd, wanted);
  } else {
    if (wanted & POLLIN) add(L, h->in_fd, POLLIN);
    if (wanted & POLLOUT) add(L, h->out_fd, POLLOUT);
  }
}

static void add_number(lua_State *L, int set, int key, short wanted) {
  lua_Integer fd = lua_tointeger(L, key);
  if (!lua_isinteger(L, key) || fd < 0 || fd > INT_MAX)
    luaL_argerror(L, set, "a number in it is no file descriptor");
  add(L, (int)fd, wanted);
}

/* Returns 0, or -errno when a descriptor for the child cannot be had. */
static int add_child(lua_State *L, struct mb_child *child) {
  int fd = child ? mb_child_pollable(child) : -1;
  if (!child) {
    set_ready(L);
  } else if (fd >= 0) {
    add(L, fd, POLLIN);
  }
  return child && fd < 0 ? fd : 0;
}

/* Adds the element whose key is at index `key`. Returns 0 or -errno; throws when it is no such. */
static int add_key(lua_State *L, int set, int key, short wanted) {
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
    return add_child(L, child);
  } else if ((fd = mb_io_listener_fd(L, key)) >= 0) {
    add(L, fd, POLLIN);
  } else {
    luaL_argerror(L, set, "expected sockets, listeners, children and file descriptors as keys");
  }
  return 0;
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
static int add_set(lua_State *L, int set, short events, int other_set, short other_events) {
  if (!lua_istable(L, set)) return 0;
  for (lua_pushnil(L); lua_next(L, set); lua_pop(L, 1)) {
    if (!lua_toboolean(L, -1)) continue;
    int key = lua_gettop(L) - 1;
    bool both = is_in_set(L, key, other_set);
    if (both && set == OUTPUT_SET) continue;
    if (both && lua_type(L, key) == LUA_TUSERDATA && !mb_handle_test(L, key))
      luaL_argerror(L, other_set, "expected sockets and file descriptors as keys");
    int r = add_key(L, set, key, both ? events | other_events : events);
    if (r < 0) return r;
  }
  return 0;
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

/* The same, but SIGTERM is let in only while waiting: none can come in between unseen. */
static int wait_for_sigterm_too(struct polled *p, int64_t deadline) {
  sigset_t sigterm, before;
  sigemptyset(&sigterm);
  sigaddset(&sigterm, SIGTERM);
  sigprocmask(SIG_BLOCK, &sigterm, &before);
  sigdelset(&before, SIGTERM);
  int r = sigterm_caught ? -EINTR : wait_once(p, deadline, &before);
  sigprocmask(SIG_SETMASK, &before, NULL);
  return r;
}

/*
 * Goes on connecting where poll(2) says so. Returns whether what the script waits for is there; if
 * not, the place is polled for what is still to come.
 */
static bool is_ready_after_connecting(struct pollfd *place, const struct connecting *c) {
  int r = mb_handle_decide(c->h, false);
  if (r == -EAGAIN) return false;
  if (r < 0 || c->wanted & POLLOUT) return true;
  place->events = c->wanted;
  return false;
}

/* Whether something is ready, of which poll(2) says so. Returns 1, 0, or -EBADF with *ret_fd. */
static int look(struct polled *p, int *ret_fd) {
  int ready = 0;
  for (size_t i = 0; i < p->count; i++) {
    struct pollfd *place = &p->fds[i];
    if (place->revents == 0) continue;
    if (place->revents & POLLNVAL) {
      *ret_fd = place->fd;
      return -EBADF;
    }
    const struct connecting *c = &p->connecting[i];
    if (!c->h || !c->h->attempt || is_ready_after_connecting(place, c)) ready = 1;
  }
  return ready;
}

/* Waits for all. Returns 1 when something is ready, 0 at the deadline, -EINTR, or -errno. */
static int wait_for_all(struct polled *p, int64_t deadline, bool wakeup_on_sigterm, int *ret_fd) {
  mb_child_has_reaped(); /* before: what matters is who interrupts us now */
  for (;;) {
    int r = wakeup_on_sigterm ? wait_for_sigterm_too(p, deadline) : wait_once(p, deadline, NULL);
    if (r == -EINTR && mb_child_has_reaped()) continue;
    if (r <= 0) return r;
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
  int r = add_set(L, INPUT_SET, POLLIN, OUTPUT_SET, POLLOUT);
  if (r == 0) r = add_set(L, OUTPUT_SET, POLLOUT, INPUT_SET, POLLIN);
  if (r == 0) {
    struct polled *p = lua_touserdata(L, POLLED);
    if (wakeup_on_sigterm && sigterm_caught) {
      r = -EINTR;
    } else {
      r = p->ready ? 1 : wait_for_all(p, deadline, wakeup_on_sigterm, &bad_fd);
    }
  }
  give_back(L);
  return push_outcome(L, r, wakeup_on_sigterm, bad_fd);
}
