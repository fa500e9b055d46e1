/*
 * For mb.scheduler: poll(2) that tells each element's outcome, and the same elements in an epoll(7)
 * descriptor, on which somebody else's loop can wait. Elements are what moonbridge_io.poll takes,
 * but for children: sockets, listeners, descriptors.
 */
#include "api/mb/scheduler_core.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fdio.h"
#include "socket/handle.h"
#include "socket/listener_object.h"

/* An element's descriptors; the same for both directions but in a replay. -1: ready without asking. */
struct element {
  int in_fd, out_fd;
  int in_place, out_place; /* where in the array of poll(2) */
  short wanted;
};

enum { OBJECTS = 1, EVENTS, COUNT };

static short wanted_at(lua_State *L, lua_Integer i) {
  lua_rawgeti(L, EVENTS, i);
  const char *text = luaL_checkstring(L, -1);
  short wanted = (short)((strchr(text, 'r') ? POLLIN : 0) | (strchr(text, 'w') ? POLLOUT : 0));
  lua_pop(L, 1);
  return wanted;
}

/* An operation on what is closed does not wait, so neither does this. */
static struct element of_handle(const struct mb_handle *h, short wanted) {
  struct element e = {.in_fd = -1, .out_fd = -1, .wanted = wanted};
  if (!mb_handle_is_open(h)) return e;
  if (wanted & POLLIN && !mb_handle_has_input(h)) e.in_fd = h->in_fd;
  if (wanted & POLLOUT && h->state == MB_HANDLE_OPEN && !h->out_error) e.out_fd = h->out_fd;
  return e;
}

/* The element i of the tables; throws when it is none. */
static struct element element_at(lua_State *L, lua_Integer i) {
  short wanted = wanted_at(L, i);
  struct element e = {.in_fd = -1, .out_fd = -1, .wanted = wanted};
  lua_rawgeti(L, OBJECTS, i);
  const struct mb_handle *h = mb_handle_test(L, -1);
  if (h) {
    e = of_handle(h, wanted);
  } else if (lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 0 && lua_tointeger(L, -1) <= INT_MAX) {
    e.in_fd = e.out_fd = (int)lua_tointeger(L, -1);
  } else if (lua_isuserdata(L, -1)) {
    e.in_fd = e.out_fd = mb_io_listener_fd(L, -1);
  }
  if (!(wanted & POLLIN)) e.in_fd = -1;
  if (!(wanted & POLLOUT)) e.out_fd = -1;
  lua_pop(L, 1);
  return e;
}

/* ---- poll ---- */

/* What poll(2) has said of a direction, whose descriptor is in that place; -1: not asked. */
static bool is_ready(int fd, int place, const struct pollfd *fds, short wanted) {
  if (fd < 0) return true;
  return fds[place].revents & (wanted | POLLERR | POLLHUP | POLLNVAL);
}

/* Which directions are ready. */
static short outcome(const struct element *e, const struct pollfd *fds) {
  short ready = 0;
  if (e->wanted & POLLIN && is_ready(e->in_fd, e->in_place, fds, POLLIN)) ready |= POLLIN;
  if (e->wanted & POLLOUT && is_ready(e->out_fd, e->out_place, fds, POLLOUT)) ready |= POLLOUT;
  return ready;
}

/*
 * Gives the element its places in the array of poll(2), from n on, which takes no more of them than
 * the process may have descriptors: one for both directions. Returns n behind them.
 */
static int place_element(struct element *e, struct pollfd *fds, int n) {
  if (e->in_fd >= 0) {
    e->in_place = n;
    fds[n++] = (struct pollfd){.fd = e->in_fd, .events = POLLIN};
  }
  if (e->out_fd >= 0 && e->out_fd == e->in_fd) {
    e->out_place = e->in_place;
    fds[e->in_place].events |= POLLOUT;
  } else if (e->out_fd >= 0) {
    e->out_place = n;
    fds[n++] = (struct pollfd){.fd = e->out_fd, .events = POLLOUT};
  }
  return n;
}

enum { SECONDS = COUNT + 1, READY, ROOM, POLL_ARGUMENTS = ROOM };

/* For one element: what it is, and what poll(2) is told of it at most. */
struct place {
  struct element element;
  struct pollfd fds[2];
};

/*
 * core.room(count)
 * Returns what core.poll needs for so many objects.
 */
static int core_room(lua_State *L) {
  lua_newuserdata(L, (size_t)luaL_checkinteger(L, 1) * sizeof(struct place) + 1);
  return 1;
}

/* poll(2) wants its part side by side: first those, then the elements. */
static struct element *room_at(lua_State *L, lua_Integer count, struct pollfd **ret_fds) {
  size_t size = (size_t)count * sizeof(struct place);
  if (!lua_isuserdata(L, ROOM)) {
    lua_newuserdata(L, size + 1);
    lua_replace(L, ROOM);
  }
  luaL_argcheck(L, lua_rawlen(L, ROOM) >= size, ROOM, "too small");
  *ret_fds = lua_touserdata(L, ROOM);
  return (struct element *)(*ret_fds + 2 * count);
}

/*
 * core.poll(objects, events, count, seconds, [ready, room])
 * Waits until one of the objects 1 to count is ready for one of its events ("r", "w", "rw"), at most
 * so many seconds; nil: for ever. What is closed is ready.
 * Returns a table, ready if it is given, that has "r", "w" or "rw" for what is ready, and false for
 * the others. With ready and room nothing is allocated, so that no finalizer changes the lists
 * meanwhile.
 */
static int core_poll(lua_State *L) {
  lua_settop(L, POLL_ARGUMENTS);
  lua_Integer count = luaL_checkinteger(L, COUNT);
  int64_t deadline = MB_NO_DEADLINE;
  if (!lua_isnil(L, SECONDS)) {
    lua_Number seconds = luaL_checknumber(L, SECONDS);
    if (!(seconds > 0)) seconds = 0;
    if (seconds < MB_SECONDS_MAX) deadline = mb_now_usec() + (int64_t)ceil(seconds * 1e6);
  }
  struct pollfd *fds;
  struct element *elements = room_at(L, count, &fds);
  if (!lua_istable(L, READY)) {
    lua_createtable(L, (int)count, 0);
    lua_replace(L, READY);
  }
  int n = 0;
  for (lua_Integer i = 0; i < count; i++) {
    elements[i] = element_at(L, i + 1);
    n = place_element(&elements[i], fds, n);
    if (outcome(&elements[i], fds)) deadline = 0;
  }
  int r = mb_fd_poll_all(fds, (size_t)n, deadline);
  if (r < 0) return luaL_error(L, "poll: %s", strerror(-r));
  for (lua_Integer i = 0; i < count; i++) {
    short ready = outcome(&elements[i], fds);
    int name = (ready & POLLIN ? 1 : 0) + (ready & POLLOUT ? 2 : 0);
    if (name) {
      lua_pushvalue(L, lua_upvalueindex(name));
    } else {
      lua_pushboolean(L, 0);
    }
    lua_rawseti(L, READY, i + 1);
  }
  lua_settop(L, READY);
  return 1;
}

/* ---- epoll ---- */

#define WATCH_TYPE "mb.scheduler.watch"

/* What is waited for changes, the descriptor that others know does not: it watches another one. */
struct watch {
  int outer_fd, inner_fd; /* -1: none */
};

static void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static int watch_gc(lua_State *L) {
  struct watch *w = luaL_checkudata(L, 1, WATCH_TYPE);
  close_fd(&w->inner_fd);
  close_fd(&w->outer_fd);
  return 0;
}

/* Adds a descriptor. What is there already is watched for both directions: to be woken is no harm. */
static int add(int epoll_fd, int fd, uint32_t events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  if (fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0) return 0;
  if (errno != EEXIST) return -errno;
  event.events = EPOLLIN | EPOLLOUT;
  return epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0 ? 0 : -errno;
}

/* core.watch(): returns an object that keeps an epoll descriptor, and its number. */
static int core_watch(lua_State *L) {
  struct watch *w = lua_newuserdata(L, sizeof *w);
  w->outer_fd = w->inner_fd = -1;
  if (luaL_newmetatable(L, WATCH_TYPE)) {
    lua_pushcfunction(L, watch_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  w->outer_fd = epoll_create1(EPOLL_CLOEXEC);
  if (w->outer_fd < 0) return luaL_error(L, "epoll_create1: %s", strerror(errno));
  lua_pushinteger(L, w->outer_fd);
  return 2;
}

/* Adds an element. Returns 0, or -errno; *ready when it need not be waited for. */
static int add_element(int epoll_fd, const struct element *e, bool *ready) {
  bool in = e->wanted & POLLIN, out = e->wanted & POLLOUT;
  if ((in && e->in_fd < 0) || (out && e->out_fd < 0)) *ready = true;
  int r = 0;
  if (in && out && e->in_fd == e->out_fd) {
    r = add(epoll_fd, e->in_fd, EPOLLIN | EPOLLOUT);
  } else {
    if (in) r = add(epoll_fd, e->in_fd, EPOLLIN);
    if (r == 0 && out) r = add(epoll_fd, e->out_fd, EPOLLOUT);
  }
  /* A regular file cannot be in such a set, and is always ready; what is not open fails at once. */
  if (r != -EPERM && r != -EBADF) return r;
  *ready = true;
  return 0;
}

/*
 * core.fill(objects, events, count, watch)
 * The watch's descriptor is ready, from now on, when one of the objects 1 to count is.
 * Returns whether one is without any waiting, whatever the descriptor says.
 */
static int core_fill(lua_State *L) {
  lua_settop(L, 4);
  lua_Integer count = luaL_checkinteger(L, COUNT);
  struct watch *w = luaL_checkudata(L, 4, WATCH_TYPE);
  close_fd(&w->inner_fd);
  w->inner_fd = epoll_create1(EPOLL_CLOEXEC);
  if (w->inner_fd < 0) return luaL_error(L, "epoll_create1: %s", strerror(errno));
  bool ready = false;
  for (lua_Integer i = 1; i <= count; i++) {
    struct element e = element_at(L, i);
    int r = add_element(w->inner_fd, &e, &ready);
    if (r < 0) return luaL_error(L, "epoll_ctl: %s", strerror(-r));
  }
  int r = add(w->outer_fd, w->inner_fd, EPOLLIN);
  if (r < 0) return luaL_error(L, "epoll_ctl: %s", strerror(-r));
  lua_pushboolean(L, ready);
  return 1;
}

static const luaL_Reg functions[] = {
    {"fill", core_fill},
    {"room", core_room},
    {"watch", core_watch},
    {NULL, NULL},
};

int mb_scheduler_core_open(lua_State *L) {
  luaL_newlib(L, functions);
  lua_pushliteral(L, "r");
  lua_pushliteral(L, "w");
  lua_pushliteral(L, "rw");
  lua_pushcclosure(L, core_poll, 3);
  lua_setfield(L, -2, "poll");
  return 1;
}
