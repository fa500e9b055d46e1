/*
 * Looks once more at each element after a wait, as the wait ends with the first one that is ready. Only for a script that
 * asks: it costs another poll(2).
 */
#include "api/io/io_ready.h"

#include <lauxlib.h>
#include <poll.h>

#include "api/io/io_child.h"
#include "base/child.h"
#include "base/clock.h"
#include "base/fdio.h"
#include "socket/handle_over.h"
#include "socket/listener_object.h"

/* An element of a set, in the order of the set. */
struct element {
  struct mb_handle *handle; /* or NULL */
  struct mb_interest interest;
  size_t place; /* of the first of its descriptors in the array of poll(2) */
  short ready;  /* without a descriptor and a handle: its events */
};

static size_t count_of(lua_State *L, int set) {
  size_t count = 0;
  if (!lua_istable(L, set)) return 0;
  for (lua_pushnil(L); lua_next(L, set); lua_pop(L, 1)) count++;
  return count;
}

/* Returns what the key at index waits for. */
static struct element element_at(lua_State *L, int key, short wanted) {
  struct element e = {.handle = mb_handle_below(L, key)};
  struct mb_child *child;
  int fd = -1;
  if (e.handle) {
    e.interest = mb_handle_interest(e.handle, wanted, e.handle->polled_short); /* as in the wait */
    return e;
  }
  if (lua_isinteger(L, key)) {
    fd = (int)lua_tointeger(L, key);
  } else if (mb_io_child_test(L, key, &child)) {
    e.ready = !child || mb_child_has_ended(child) ? wanted : 0;
  } else {
    fd = mb_listener_object_fd(L, key);
  }
  if (fd >= 0) {
    e.interest.fds[0] = (struct pollfd){.fd = fd, .events = wanted};
    e.interest.count = 1;
  }
  return e;
}

/* Returns the events of an element after poll(2). */
static short outcome(const struct element *e, const struct pollfd *fds, short wanted) {
  if (e->handle) return mb_handle_ready(e->handle, &e->interest, fds + e->place);
  if (e->interest.count == 0) return e->ready;
  short told = fds[e->place].revents;
  return (short)(told & (POLLERR | POLLHUP | POLLNVAL) ? wanted : told & wanted);
}

/* Adds events to what the table at index `ready` has for the key on top of the stack; pops the key. */
static void tell(lua_State *L, int ready, short events) {
  lua_pushvalue(L, -1);
  bool both = lua_rawget(L, ready) == LUA_TSTRING;
  lua_pop(L, 1);
  lua_pushstring(L, both ? "rw" : events == POLLIN ? "r" : "w");
  lua_rawset(L, ready);
}

/* One set: the room has a place for each element, and two for descriptors. */
static void look(lua_State *L, int set, short wanted, int ready) {
  size_t count = count_of(L, set), n = 0, i = 0;
  if (count == 0) return;
  struct element *elements =
      lua_newuserdata(L, count * (sizeof *elements + 2 * sizeof(struct pollfd)));
  struct pollfd *fds = (struct pollfd *)(elements + count);
  for (lua_pushnil(L); lua_next(L, set); lua_pop(L, 1), i++) {
    struct element *e = &elements[i];
    *e = lua_toboolean(L, -1) ? element_at(L, lua_gettop(L) - 1, wanted) : (struct element){0};
    e->place = n;
    for (int k = 0; k < e->interest.count; k++) fds[n++] = e->interest.fds[k];
  }
  if (n > 0) mb_fd_poll_all(fds, n, mb_now_usec());
  i = 0;
  for (lua_pushnil(L); lua_next(L, set); i++) {
    lua_pop(L, 1);
    if (!outcome(&elements[i], fds, wanted)) continue;
    lua_pushvalue(L, -1);
    tell(L, ready, wanted);
  }
  lua_pop(L, 1);
}

void mb_io_ready_empty(lua_State *L, int index) {
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    lua_pushnil(L);
    lua_rawset(L, index);
  }
}

void mb_io_ready_fill(lua_State *L, int input, int output, int ready) {
  look(L, input, POLLIN, ready);
  look(L, output, POLLOUT, ready);
}
