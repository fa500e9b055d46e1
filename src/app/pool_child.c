/* A child of the pool: prepares, takes one connection after another, and finishes. */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "app/connection.h"
#include "app/dev.h"
#include "app/pool.h"
#include "app/sandbox_step.h"
#include "app/script.h"
#include "app/serve.h"
#include "app/service.h"
#include "base/child.h"
#include "base/drain.h"
#include "base/fdio.h"
#include "base/kept.h"
#include "base/listener.h"
#include "base/log.h"
#include "base/rare.h"
#include "base/spare.h"
#include "socket/timeout.h"
#include "state/state.h"

/* So long a child waits when the system has no descriptor or no memory for a connection. */
#define NO_ROOM_USEC 200000
/* After so long without a connection all of it is collected. */
#define QUIET_MSEC 500

struct child {
  const struct mb_child_start *start;
  const struct mb_service *service;
  lua_State
      *L; /* whose function waits for a connection; a coroutine's in a program of another library */
  int epoll;
  const struct mb_pool_socket *only; /* the socket, when there is one; else NULL */
  uint64_t served;
  int64_t idle_until; /* it ends when no connection comes until then; MB_NO_DEADLINE: it stays */
  bool is_tidy;       /* there was no connection since everything was collected */
};

/* What epoll reports of a descriptor that is no listener. */
enum { DRAIN = -1, RETIRE = -2 };

/* ---- what the others know ---- */

/* Adds 1 to an eventfd. When that is not possible, it is readable all the same. */
static void wake(int fd) {
  const uint64_t one = 1;
  if (write(fd, &one, sizeof one) < 0) return;
}

static void set_state(const struct child *c, enum mb_child_state state) {
  const struct mb_child_start *start = c->start;
  if (mb_pool_board_set(start->board, start->slot, start->number, state)) wake(start->wake_fd);
}

static const struct child *current; /* for kept() */

/* Notes that the connection waits for another request, or no longer does. */
static void kept(int64_t silent) {
  struct mb_pool_slot *slot = &current->start->board->slots[current->start->slot];
  if (silent) slot->kept_until = mb_now_usec() + silent;
  slot->state = silent ? MB_CHILD_KEPT : MB_CHILD_BUSY;
}

/* A connection has come. */
static void begin(struct child *c) {
  c->start->board->slots[c->start->slot].serving = true;
  c->start->board->last = mb_now_usec();
}

/* Counts the connection whose end has come. Returns false when there was none. */
static bool count(struct child *c) {
  struct mb_pool_board *board = c->start->board;
  struct mb_pool_slot *slot = &board->slots[c->start->slot];
  if (!slot->serving) return false;
  slot->serving = c->is_tidy = false;
  slot->served = ++c->served;
  board->last = mb_now_usec();
  board->served++;
  return true;
}

/* Returns whether another connection may follow those that were served. */
static bool may_serve(const struct child *c) {
  lua_Integer most = c->service->max_requests_per_fork;
  if (!mb_sandbox_step_goes_on(c->service, c->start->options)) return false;
  return most == 0 || (lua_Integer)c->served < most;
}

/* ---- memory ---- */

/*
 * Nobody has come for a moment: collects all garbage, and gives the memory that is free back to the system. An error of a
 * script's finalizer is logged, as any of the script's.
 */
static void tidy(struct child *c) {
  lua_State *L = c->L;
  mb_timeout_limit_finalizers(true);
  lua_pushcfunction(L, mb_state_collect);
  if (mb_state_call(L, 0, 0) != LUA_OK) mb_script_log_error(L);
  mb_timeout_limit_finalizers(false);
  mb_state_of(L)->holders = mb_state_alloc(L)->holders;
  mb_child_end_abandoned();
  mb_spare_free();
  MB_RARE(malloc_trim)(0);
  c->is_tidy = true;
}

/* ---- accepting ---- */

static int watch(int epoll, int fd, uint32_t events, int what) {
  struct epoll_event event = {.events = events, .data.fd = what};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

/*
 * Each child has an epoll of its own: of those that wait, the system wakes one for a connection. A child that finds a
 * connection at once and ends with it needs none.
 */
static int open_epoll(struct child *c) {
  const struct mb_child_start *start = c->start;
  if (c->epoll >= 0) return 0;
  c->epoll = epoll_create1(EPOLL_CLOEXEC);
  if (c->epoll < 0) return -errno;
  int r = watch(c->epoll, start->drain_fd, EPOLLIN, DRAIN);
  if (r == 0) r = watch(c->epoll, start->retire_fd, EPOLLIN | EPOLLEXCLUSIVE, RETIRE);
  for (int i = 0; i < start->sockets->count && r == 0; i++) {
    const struct mb_pool_socket *s = &start->sockets->list[i];
    if (s->entry->service == c->service) r = watch(c->epoll, s->fd, EPOLLIN | EPOLLEXCLUSIVE, i);
  }
  return r;
}

/* Returns the socket of the service; NULL when there are several. */
static const struct mb_pool_socket *only_socket(const struct child *c) {
  const struct mb_pool_sockets *sockets = c->start->sockets;
  const struct mb_pool_socket *found = NULL;
  for (int i = 0; i < sockets->count; i++) {
    if (sockets->list[i].entry->service != c->service) continue;
    if (found) return NULL;
    found = &sockets->list[i];
  }
  return found;
}

/* Logs that no connection can be accepted, and waits: others would find the same. */
static void wait_for_room(const struct child *c, int r) {
  static bool logged;
  if (!logged) mb_log(LOG_WARNING, "pool: cannot accept a connection: %s", strerror(-r));
  logged = true;
  mb_fd_poll(c->start->drain_fd, POLLIN, mb_now_usec() + NO_ROOM_USEC);
}

/* Accepts from a socket. Returns a descriptor, or -EAGAIN. */
static int accept_from(const struct child *c, const struct mb_pool_socket *s) {
  struct mb_addr remote;
  int fd = mb_listener_accept(s->fd, false, &remote);
  if (fd >= 0 || fd == -EAGAIN) return fd;
  bool is_ended = c->start->board->clearing || c->start->board->draining;
  if (fd == -EINVAL && !is_ended) {
    c->start->board->is_deaf = true;
    wake(c->start->wake_fd);
  }
  if (fd == -EINVAL && is_ended) {
    mb_fd_poll(c->start->drain_fd, POLLIN, mb_now_usec() + NO_ROOM_USEC);
  } else {
    wait_for_room(c, fd);
  }
  return -EAGAIN;
}

/*
 * The system may have woken this process alone for a connection, when it was to end: the other processes still sleep.
 * Returns the descriptor of a connection that waits, or -ECANCELED.
 */
static int last_look(const struct child *c, const struct mb_listen_entry **ret_entry) {
  for (int i = 0; i < c->start->sockets->count; i++) {
    const struct mb_pool_socket *s = &c->start->sockets->list[i];
    if (s->entry->service != c->service) continue;
    struct mb_addr remote;
    int fd = mb_listener_accept(s->fd, false, &remote);
    *ret_entry = s->entry;
    if (fd >= 0) return fd;
  }
  return -ECANCELED;
}

/* Takes a connection that an event of epoll tells of. Returns as next_connection does, or -EAGAIN. */
static int take(const struct child *c, int what, const struct mb_listen_entry **ret_entry) {
  uint64_t one;
  /* A parent that has died has no process that could be woken. */
  if (what == DRAIN) return c->start->board->draining ? last_look(c, ret_entry) : -ECANCELED;
  if (what == RETIRE)
    return read(c->start->retire_fd, &one, sizeof one) > 0 ? last_look(c, ret_entry) : -EAGAIN;
  const struct mb_pool_socket *s = &c->start->sockets->list[what];
  *ret_entry = s->entry;
  return accept_from(c, s);
}

/* As much of a time as epoll_wait takes. The caller asks again. */
static int left_msec(int64_t usec) {
  return usec < INT_MAX ? (int)(usec / 1000 + 1) : INT_MAX / 1000;
}

/*
 * Waits for a connection.
 * deadline  monotonic microseconds, or MB_NO_DEADLINE
 * Returns a descriptor; -ECANCELED when the child has to end; -EAGAIN at the deadline; or -errno.
 */
static int wait_for_connection(struct child *c, int64_t deadline,
                               const struct mb_listen_entry **ret_entry) {
  if (c->only && !mb_drain_begun()) {
    /* Under load the next one waits already. */
    int fd = accept_from(c, c->only);
    *ret_entry = c->only->entry;
    if (fd != -EAGAIN) return fd;
  }
  int r = open_epoll(c);
  if (r < 0) return r;
  int64_t until = deadline < c->idle_until ? deadline : c->idle_until;
  for (bool last = false; !mb_drain_begun();) {
    int64_t left = until == MB_NO_DEADLINE ? -1 : until - mb_now_usec();
    if (left <= 0 && until != MB_NO_DEADLINE) {
      if (last) return until == deadline ? -EAGAIN : -ECANCELED;
      last = true; /* asks once at least */
      left = 0;
    }
    struct epoll_event event;
    int span = left > 0 ? left_msec(left) : (int)left;
    bool is_short = !c->is_tidy && (span < 0 || span > QUIET_MSEC);
    int n = epoll_wait(c->epoll, &event, 1, is_short ? QUIET_MSEC : span);
    if (n < 0 && errno != EINTR) return -errno;
    if (n == 0 && is_short) tidy(c);
    if (n <= 0) continue;
    int fd = take(c, event.data.fd, ret_entry);
    if (fd != -EAGAIN) return fd;
  }
  return -ECANCELED;
}

/* The child has no connection. */
static void be_idle(struct child *c) {
  int64_t usec = mb_usec_of(c->service->idle_timeout);
  c->idle_until = usec > 0 ? mb_now_usec() + usec : MB_NO_DEADLINE;
  set_state(c, MB_CHILD_IDLE);
}

/* Does the same as wait_for_connection, and is busy then, but at the deadline. Logs a failure, and returns that. */
static int next_connection(struct child *c, int64_t deadline,
                           const struct mb_listen_entry **ret_entry) {
  int fd = wait_for_connection(c, deadline, ret_entry);
  if (fd == -EAGAIN) return fd;
  if (fd == -ECANCELED)
    fd = mb_pool_sockets_clear(c->start->sockets, c->service, c->start->board, ret_entry);
  set_state(c, MB_CHILD_BUSY);
  if (fd < 0 && fd != -ECANCELED)
    mb_log(LOG_ERR, "pool: cannot wait for a connection: %s", strerror(-fd));
  if (fd >= 0) begin(c);
  /* A script that wants to learn that the pool ends learns it also when its connection began later. */
  if (fd >= 0 && c->start->board->draining) kill(getpid(), SIGTERM);
  return fd;
}

/* ---- serving ---- */

/* Opens a connection. Returns false when its client has gone, or the system cannot say who it is: it has ended then. */
static bool open_connection(struct child *c, struct mb_connection *connection, int fd) {
  const struct mb_options *o = c->start->options;
  int r = mb_connection_open(connection, fd, o->log_journal, 0);
  if (r == 0) return true;
  if (r != -ENOTCONN)
    mb_log(LOG_ERR, "cannot ask for the connection's addresses: %s", strerror(-r));
  mb_connection_end(connection, MB_EXIT_OK);
  count(c);
  return false;
}

/* Gets another connection for a program that accepts by itself: see mb_serve_more. The child is idle until it comes. */
static int more(lua_State *L, struct mb_connection *connection, int64_t deadline, void *context) {
  struct child *c = context;
  const struct mb_listen_entry *entry;
  c->L = L;
  if (count(c)) {
    if (!may_serve(c)) return -1;
    be_idle(c);
  }
  for (;;) {
    int fd = next_connection(c, deadline, &entry);
    if (fd < 0) return fd == -EAGAIN ? 0 : -1;
    if (open_connection(c, connection, fd)) return 1;
    be_idle(c);
  }
}

/* Serves a connection. Returns whether another may follow. */
static bool serve_one(lua_State *L, struct child *c, int fd, const struct mb_listen_entry *entry,
                      enum mb_exit *ret_exit) {
  struct mb_connection connection;
  bool goes_on = true;
  const struct mb_options *o = c->start->options;
  /* A program listens on the address of its first connection: where there are several, the others would starve. */
  const struct mb_serve_more source = {
      .fd = c->only ? c->epoll : -1,
      .is_one = c->only && !mb_addr_is_every(&c->only->local),
      .next = more,
      .context = c,
  };
  if (open_connection(c, &connection, fd)) {
    *ret_exit = o->dev ? mb_dev_serve(o, &connection)
                       : mb_serve_next(L, o, entry, &connection, &source, &goes_on);
    c->L = L;
    count(c);
  }
  /* With --dev the next one has the script loaded anew. */
  return goes_on && !o->dev && *ret_exit == MB_EXIT_OK && may_serve(c);
}

static enum mb_exit turn(lua_State *L, const struct mb_service *service, void *context) {
  struct child *c = context;
  enum mb_exit exit = MB_EXIT_OK;
  const struct mb_listen_entry *entry = NULL;
  (void)service;
  mb_timeout_forget(); /* --timeout was for prepare, and is for each connection */
  mb_connection_keep_locale();
  mb_state_of(L)->holders = mb_state_alloc(L)->holders; /* what prepare has opened stays */
  int fd;
  do {
    be_idle(c);
    fd = next_connection(c, MB_NO_DEADLINE, &entry);
    if (fd == -ECANCELED) break;
    if (fd < 0) return MB_EXIT_SYSTEM;
  } while (serve_one(L, c, fd, entry, &exit));
  set_state(c, MB_CHILD_BUSY); /* finish may take its time */
  return exit;
}

enum mb_exit mb_pool_child(lua_State *L, const struct mb_service *service,
                           const struct mb_child_start *start) {
  struct child c = {.start = start, .service = service, .L = L, .is_tidy = true, .epoll = -1};
  unsigned seed;
  /* Copies of one state would all have the same random numbers. To look a function up costs a child ten page faults. */
  if (syscall(SYS_getrandom, &seed, sizeof seed, GRND_NONBLOCK) == sizeof seed) srandom(seed);
  c.only = only_socket(&c);
  if (start->options->style && open_epoll(&c) < 0) return MB_EXIT_SYSTEM; /* the program polls it */
  /* With --dev a connection outlives a reload: it loads the script anew by itself. */
  static const volatile mb_pool_flag never = 0;
  bool dev = start->options->dev;
  mb_drain_watch(dev ? -1 : start->drain_fd, dev ? &never : &start->board->draining);
  current = &c;
  mb_kept_tell(kept);
  if (!dev) mb_timeout_limit(start->options->timeout);
  enum mb_exit exit =
      dev ? turn(L, service, &c) : mb_service_run(L, service, start->options, turn, &c);
  mb_kept_tell(NULL);
  if (c.epoll >= 0) close(c.epoll);
  return exit;
}
