/*
 * For mb.scheduler: a poll(2) that tells the outcome of each element, and an epoll(7) descriptor of the same
 * elements, on which the loop of another library can wait. Elements are those of moonbridge_io.poll except
 * children: sockets, listeners, descriptors.
 */
#include "api/mb/scheduler_core.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fdio.h"
#include "socket/handle_over.h"
#include "socket/listener_object.h"

/* One object that the scheduler waits for. */
struct element {
  struct mb_handle *handle; /* NULL: the interest is in a plain descriptor */
  struct mb_interest interest;
  int place; /* of the interest's first descriptor in the array of poll(2) */
};

enum { OBJECTS = 1, EVENTS, COUNT };

static short wanted_at(lua_State *L, lua_Integer i) {
  lua_rawgeti(L, EVENTS, i);
  const char *text = luaL_checkstring(L, -1);
  short wanted = (short)((strchr(text, 'r') ? POLLIN : 0) | (strchr(text, 'w') ? POLLOUT : 0));
  lua_pop(L, 1);
  return wanted;
}

/* Returns the interest in a descriptor. A number that is no descriptor, such as -1, is ready. */
static struct mb_interest interest_in_fd(lua_Integer fd, short wanted) {
  struct mb_interest interest = {.wanted = wanted};
  if (fd < 0 || fd > INT_MAX) {
    interest.ready = wanted;
  } else if (wanted) {
    interest.fds[0] = (struct pollfd){.fd = (int)fd, .events = wanted};
    interest.count = 1;
  }
  return interest;
}

/* Returns element i of the tables. An object of another kind is ready. */
static struct element element_at(lua_State *L, lua_Integer i) {
  short wanted = wanted_at(L, i);
  struct element e = {.handle = NULL};
  lua_rawgeti(L, OBJECTS, i);
  e.handle = mb_handle_below(L, -1);
  if (e.handle) {
    e.interest = mb_handle_interest(e.handle, wanted, e.handle->in_short);
  } else {
    lua_Integer fd = -1;
    if (lua_isinteger(L, -1)) {
      fd = lua_tointeger(L, -1);
    } else if (lua_isuserdata(L, -1)) {
      fd = mb_listener_object_fd(L, -1);
    }
    e.interest = interest_in_fd(fd, wanted);
  }
  lua_pop(L, 1);
  return e;
}

/* ---- poll ---- */

/* Returns which directions of an element are ready after poll(2). */
static short outcome(const struct element *e, const struct pollfd *fds) {
  const struct pollfd *polled = fds + e->place;
  if (e->handle) return mb_handle_ready(e->handle, &e->interest, polled);
  if (e->interest.count == 0) return e->interest.ready;
  bool failed = polled->revents & (POLLERR | POLLHUP | POLLNVAL);
  return (short)(failed ? e->interest.wanted : polled->revents & e->interest.wanted);
}

/*
 * Gives the element its places in the array of poll(2), from n on. Takes no more than it needs, as poll(2)
 * has only as many places as the process may have descriptors. Returns the next free place.
 */
static int place_element(struct element *e, struct pollfd *fds, int n) {
  e->place = n;
  for (int i = 0; i < e->interest.count; i++) fds[n++] = e->interest.fds[i];
  return n;
}

enum { SECONDS = COUNT + 1, READY, ROOM, POLL_ARGUMENTS = ROOM };

/* The room for one element: itself, and the most places that it can need in the array of poll(2). */
struct place {
  struct element element;
  struct pollfd fds[2];
};

/*
 * core.room(count)
 * Returns the memory that core.poll needs for `count` objects, a userdata.
 */
static int core_room(lua_State *L) {
  lua_newuserdata(L, (size_t)luaL_checkinteger(L, 1) * sizeof(struct place) + 1);
  return 1;
}

/* Divides the room: first the array of poll(2), whose places must be side by side, then the elements. */
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

/* Stores in the table READY which directions of an element are ready. */
static void tell(lua_State *L, lua_Integer i, short ready) {
  int name = (ready & POLLIN ? 1 : 0) + (ready & POLLOUT ? 2 : 0);
  if (name) {
    lua_pushvalue(L, lua_upvalueindex(name));
  } else {
    lua_pushboolean(L, 0);
  }
  lua_rawseti(L, READY, i + 1);
}

/*
 * Waits once, and fills READY. Returns false when the wait is not over: poll(2) has only told of an attempt
 * to connect that goes on.
 */
static bool poll_once(lua_State *L, lua_Integer count, struct element *elements, struct pollfd *fds,
                      int64_t deadline) {
  int n = 0;
  for (lua_Integer i = 0; i < count; i++) {
    elements[i] = element_at(L, i + 1);
    n = place_element(&elements[i], fds, n);
    if (elements[i].interest.ready) deadline = 0;
  }
  int r = mb_fd_poll_all(fds, (size_t)n, deadline);
  if (r < 0) luaL_error(L, "poll: %s", strerror(-r));
  bool any = false;
  for (lua_Integer i = 0; i < count; i++) {
    short ready = outcome(&elements[i], fds);
    if (ready) any = true;
    tell(L, i, ready);
  }
  return any || r == 0;
}

/*
 * core.poll(objects, events, count, seconds, [ready, room])
 * Waits until one of the objects 1 to `count` is ready for one of its events ("r", "w", "rw"). A closed
 * object is ready. Waits at most `seconds`; nil means for ever.
 * Returns a table, `ready` if it is given, that has "r", "w" or "rw" for each ready object and false for each
 * other. With `ready` and `room` it allocates nothing, so that no finalizer changes the lists meanwhile.
 */
static int core_poll(lua_State *L) {
  lua_settop(L, POLL_ARGUMENTS);
  lua_Integer count = luaL_checkinteger(L, COUNT);
  int64_t deadline = MB_NO_DEADLINE;
  if (!lua_isnil(L, SECONDS)) deadline = mb_now_usec() + mb_usec_of(luaL_checknumber(L, SECONDS));
  struct pollfd *fds;
  struct element *elements = room_at(L, count, &fds);
  if (!lua_istable(L, READY)) {
    lua_createtable(L, (int)count, 0);
    lua_replace(L, READY);
  }
  while (!poll_once(L, count, elements, fds, deadline)) continue;
  lua_settop(L, READY);
  return 1;
}

/* ---- epoll ---- */

#define WATCH_TYPE "mb.scheduler.watch"

/*
 * The outer descriptor, which others know, stays the same. It watches the inner one, which is a new one when
 * the objects change.
 */
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

/*
 * Adds a descriptor. One that is there already is watched for both directions from then on: to wake up in
 * vain does no harm. Returns 0 or -errno.
 */
static int add(int epoll_fd, int fd, uint32_t events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  if (fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0) return 0;
  if (errno != EEXIST) return -errno;
  event.events = EPOLLIN | EPOLLOUT;
  return epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0 ? 0 : -errno;
}

/* core.watch(): returns an object that keeps an epoll descriptor, and the number of the descriptor. */
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

/* Adds an element. Sets *ready when the element needs no wait. Returns 0 or -errno. */
static int add_element(int epoll_fd, const struct element *e, bool *ready) {
  int r = 0;
  if (e->interest.ready) *ready = true;
  for (int i = 0; r == 0 && i < e->interest.count; i++) {
    short events = e->interest.fds[i].events;
    r = add(epoll_fd, e->interest.fds[i].fd,
            (events & POLLIN ? EPOLLIN : 0u) | (events & POLLOUT ? EPOLLOUT : 0u));
  }
  /* Epoll refuses a regular file, which is always ready, and a closed descriptor, which fails at once. */
  if (r != -EPERM && r != -EBADF) return r;
  *ready = true;
  return 0;
}

/*
 * core.fill(objects, events, count, watch)
 * Makes the watch's descriptor ready, from now on, when one of the objects 1 to `count` is ready.
 * Returns whether an object is ready without a wait; the descriptor need not show that.
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
