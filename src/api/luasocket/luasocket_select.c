/*
 * socket.select, over poll(2): takes as many sockets as the process may have. The tables may hold objects of
 * other libraries if they have the method getfd; they may have the method dirty.
 */
#include "api/luasocket/luasocket_select.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "api/luasocket/luasocket_object.h"
#include "api/luasocket/luasocket_server.h"
#include "base/fdio.h"
#include "socket/standin.h"

/* Indices on the stack: the arguments, the results, and the memory. */
enum { RECEIVING = 1, SENDING, TIMEOUT, CAN_RECEIVE, CAN_SEND, MEMORY };

struct entry {
  int fd;
  int set;           /* RECEIVING or SENDING */
  lua_Integer index; /* in that table */
  short events;      /* for poll(2) */
  bool connection;   /* its handle tells whether it is ready */
  bool next;         /* a server that gets another connection: fd is mb_standin_source_fd */
  int polled;        /* its place in the array of poll(2) */
};

struct selection {
  struct entry *entries; /* in the userdata at MEMORY */
  size_t count, capacity;
  bool dirty;       /* something is ready without a wait */
  bool in_vain;     /* a server is in it to which no connection can come */
  bool connections; /* an entry is a connection */
  bool next;        /* a server is in it that may get another connection */
};

static const int64_t at_once = 0; /* a deadline that has passed */

/* ---- collecting ---- */

static short wanted_in(int set) { return set == RECEIVING ? POLLIN : POLLOUT; }

static struct entry *add(lua_State *L, struct selection *all, int fd, int set, lua_Integer index) {
  if (all->count == all->capacity) {
    size_t capacity = all->capacity ? all->capacity * 2 : 16;
    struct entry *entries = lua_newuserdata(L, capacity * sizeof *entries);
    if (all->count) memcpy(entries, all->entries, all->count * sizeof *entries);
    lua_replace(L, MEMORY);
    all->entries = entries;
    all->capacity = capacity;
  }
  struct entry *e = &all->entries[all->count++];
  *e = (struct entry){.fd = fd, .set = set, .index = index, .events = wanted_in(set)};
  return e;
}

/* Adds the object on top of the stack to the result for a set, as an element and as a key. */
static void report(lua_State *L, int set) {
  int result = set == RECEIVING ? CAN_RECEIVE : CAN_SEND;
  lua_Integer n = (lua_Integer)lua_rawlen(L, result) + 1;
  lua_pushvalue(L, -1);
  lua_rawseti(L, result, n);
  lua_pushvalue(L, -1);
  lua_pushnumber(L, (lua_Number)n);
  lua_rawset(L, result);
}

/* Calls a method of the object on top of the stack, if it has the method. Pushes the result, or nil. */
static void call_method(lua_State *L, const char *name) {
  if (lua_getfield(L, -1, name) == LUA_TNIL) return;
  lua_pushvalue(L, -2);
  lua_call(L, 1, 1);
}

static int fd_by_method(lua_State *L) {
  call_method(L, "getfd");
  lua_Number fd = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : -1;
  lua_pop(L, 1);
  return fd >= 0 && fd <= INT_MAX ? (int)fd : -1;
}

static bool dirty_by_method(lua_State *L) {
  call_method(L, "dirty");
  bool dirty = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return dirty;
}

static void report_dirty(lua_State *L, struct selection *all, int set) {
  report(L, set);
  all->dirty = true;
}

/* Adds an object of another library. */
static void add_foreign(lua_State *L, struct selection *all, int set, lua_Integer index) {
  int fd = fd_by_method(L);
  if (fd < 0) return;
  if (set == RECEIVING && dirty_by_method(L)) {
    report_dirty(L, all, set);
  } else {
    add(L, all, fd, set, index);
  }
}

static void add_connection(lua_State *L, struct selection *all, int set, lua_Integer index,
                           struct mb_handle *h) {
  struct mb_interest interest = mb_handle_interest(h, wanted_in(set), false);
  if (interest.ready) {
    report_dirty(L, all, set);
    return;
  }
  struct entry *e = add(L, all, interest.fds[0].fd, set, index);
  e->events = interest.fds[0].events;
  e->connection = all->connections = true;
}

/*
 * Adds a server that has accepted a connection. It can get the next one only when that is over. Returns whether it may
 * get one.
 */
static bool add_next(lua_State *L, struct selection *all, int set, lua_Integer index) {
  if (!mb_standin_over(L)) return true;
  if (mb_standin_next(L, at_once)) {
    if (set == RECEIVING) report_dirty(L, all, set);
  } else if (mb_standin_source_fd() < 0) {
    return false;
  } else if (set == RECEIVING) {
    add(L, all, mb_standin_source_fd(), set, index)->next = true;
  }
  return true;
}

static void add_element(lua_State *L, struct selection *all, int set, lua_Integer index) {
  const struct mb_luasocket *s = mb_luasocket_test(L, -1);
  if (!s) {
    add_foreign(L, all, set, index);
  } else if (s->class == MB_LUASOCKET_CLIENT) {
    if (mb_handle_is_open(s->h)) add_connection(L, all, set, index, s->h);
  } else if (mb_luasocket_is_next(s) && add_next(L, all, set, index)) {
    all->next = true;
  } else if (mb_luasocket_is_in_vain(L, s)) {
    all->in_vain = true;
  } else if (mb_luasocket_has_pending(s)) { /* there is no descriptor to wait for */
    if (set == RECEIVING) report_dirty(L, all, set);
  } else if (mb_luasocket_fd(s) >= 0) {
    add(L, all, mb_luasocket_fd(s), set, index);
  }
}

static void add_set(lua_State *L, struct selection *all, int set) {
  if (lua_isnil(L, set)) return;
  for (lua_Integer i = 1; lua_geti(L, set, i) != LUA_TNIL; i++) {
    add_element(L, all, set, i);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* ---- waiting ---- */

static int by_fd(const void *a, const void *b) {
  const struct entry *x = a, *y = b;
  if (x->fd != y->fd) return x->fd < y->fd ? -1 : 1;
  if (x->set != y->set) return x->set < y->set ? -1 : 1;
  return x->index < y->index ? -1 : x->index > y->index;
}

/*
 * Fills the array of poll(2). Each descriptor is in it once, as poll(2) takes no more places than the process
 * may have descriptors. Returns how many there are.
 */
static nfds_t fill(struct selection *all, struct pollfd *fds) {
  nfds_t n = 0;
  for (size_t i = 0; i < all->count; i++) {
    struct entry *e = &all->entries[i];
    if (n == 0 || fds[n - 1].fd != e->fd) fds[n++] = (struct pollfd){.fd = e->fd};
    fds[n - 1].events |= e->events;
    e->polled = (int)n - 1;
  }
  return n;
}

/*
 * Returns whether the object on top of the stack is ready, after poll(2). An attempt to connect goes on
 * meanwhile; then the entry waits for the next step.
 */
static bool is_ready(lua_State *L, struct entry *e, const struct pollfd *polled) {
  if (e->next) return polled->revents != 0 && mb_standin_next(L, at_once);
  const struct mb_luasocket *s = e->connection ? mb_luasocket_test(L, -1) : NULL;
  /* As for select(2), errors count. */
  if (!s || s->class != MB_LUASOCKET_CLIENT)
    return polled->revents & (wanted_in(e->set) | POLLERR | POLLHUP);
  struct mb_interest interest = mb_handle_interest(s->h, wanted_in(e->set), false);
  if (mb_handle_ready(s->h, &interest, polled)) return true;
  interest = mb_handle_interest(s->h, wanted_in(e->set), false);
  if (!interest.ready) e->events = interest.fds[0].events;
  return interest.ready;
}

/* Returns whether the next entry is the same descriptor in the same set, which is reported once. */
static bool comes_again(const struct selection *all, size_t i) {
  const struct entry *e = &all->entries[i];
  return i + 1 < all->count && e[1].fd == e->fd && e[1].set == e->set;
}

/* Reports the ready entries. Returns how many there are, or -EBADF when a descriptor is not open. */
static int report_ready(lua_State *L, const struct selection *all, const struct pollfd *fds) {
  int count = 0;
  bool good = true;
  for (size_t i = 0; i < all->count; i++) {
    struct entry *e = &all->entries[i];
    const struct pollfd *polled = &fds[e->polled];
    if (polled->revents & POLLNVAL) good = false;
    if (comes_again(all, i)) continue;
    if (lua_geti(L, e->set, e->index) != LUA_TNIL && is_ready(L, e, polled)) {
      report(L, e->set);
      count++;
    }
    lua_pop(L, 1);
  }
  return good ? count : -EBADF;
}

/* Waits until something is ready, and reports it. Returns > 0, 0 at the deadline, or -errno. */
static int wait_and_report(lua_State *L, struct selection *all, int64_t deadline) {
  if (all->count > 1) qsort(all->entries, all->count, sizeof *all->entries, by_fd);
  struct pollfd *fds = lua_newuserdata(L, (all->count + 1) * sizeof *fds);
  for (;;) {
    nfds_t n = fill(all, fds);
    if (n == 0 && all->dirty) return 1;
    int r = mb_fd_poll_all(fds, n, deadline);
    if (r > 0) r = report_ready(L, all, fds);
    if (r < 0) return r;
    if (r > 0 || all->dirty) return 1;
    if (all->next && mb_standin_source_fd() < 0) return 0; /* none comes: the program looks again */
    if (deadline != MB_NO_DEADLINE && mb_now_usec() >= deadline) return 0;
  }
}

static const char waits; /* its address stands for the waits of select: mb_standin_turn */

/* Returns whether a program with --style waits only for what cannot come. */
static bool is_in_vain(const struct selection *all, int64_t deadline) {
  if (all->next) return false;
  return all->in_vain || (mb_standin_active() && deadline == MB_NO_DEADLINE);
}

/*
 * Returns whether the wait is a pause of a program with --style: it waits for nothing, or for servers in vain. A
 * program that waits for its connection as well is at work.
 */
static bool is_pause(const struct selection *all) {
  if (all->dirty || all->next) return false;
  if (all->count == 0) return true;
  return all->in_vain && !(all->connections && mb_standin_serving());
}

static int pause_and_report(lua_State *L, struct selection *all, int64_t deadline) {
  if (!is_pause(all)) return wait_and_report(L, all, deadline);
  int r = wait_and_report(L, all, mb_standin_pause(L, deadline));
  mb_standin_paused(L);
  return r;
}

static int push_outcome(lua_State *L, const char *error) {
  lua_settop(L, CAN_SEND);
  if (!error) return 2;
  lua_pushstring(L, error);
  return 3;
}

/*
 * socket.select(recvt, sendt [, timeout])
 * Returns a table of the sockets that can be received from or accepted on, and a table of those that can be
 * sent to, both with the sockets as elements and as keys; and "timeout" when no socket is ready, or "select
 * failed".
 */
int mb_luasocket_select(lua_State *L) {
  lua_settop(L, TIMEOUT);
  if (!lua_isnil(L, RECEIVING)) luaL_checktype(L, RECEIVING, LUA_TTABLE);
  if (!lua_isnil(L, SENDING)) luaL_checktype(L, SENDING, LUA_TTABLE);
  lua_Number timeout = luaL_optnumber(L, TIMEOUT, -1);
  int64_t deadline =
      timeout < 0 ? MB_NO_DEADLINE : mb_now_usec() + mb_usec_of(timeout); /* NaN: now */
  struct selection all = {.count = 0};
  lua_newtable(L);
  lua_newtable(L);
  lua_pushnil(L);
  add_set(L, &all, RECEIVING);
  add_set(L, &all, SENDING);
  if (all.dirty) {
    deadline = 0; /* has passed */
  } else if (all.count == 0 && is_in_vain(&all, deadline)) {
    mb_luasocket_wait_in_vain(L, &waits, deadline);
    return push_outcome(L, "timeout");
  } else if (all.count == 0 && deadline == MB_NO_DEADLINE) {
    mb_standin_next(L, deadline); /* the program holds the connection, and waits for others only */
    return push_outcome(L, "timeout");
  }
  int r = pause_and_report(L, &all, deadline);
  if (r == 0 && all.in_vain && !all.next && mb_standin_over(L)) mb_standin_turn(L, &waits);
  return push_outcome(L, r < 0 ? "select failed" : r == 0 ? "timeout" : NULL);
}
