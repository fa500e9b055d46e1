/*
 * A generation: loads the script once, and makes and replaces children. A child leaves these functions by returning
 * the status of its end through all of them, so that the Lua state is closed as everywhere else.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/dev.h"
#include "app/pool.h"
#include "app/pool_channel.h"
#include "app/pool_policy.h"
#include "app/pool_tasks.h"
#include "app/script.h"
#include "app/serve_address.h"
#include "base/fdio.h"
#include "base/log.h"
#include "base/rare.h"
#include "socket/timeout.h"
#include "state/state.h"

/* When all processes are busy, it is looked so often whether one of them only waits for another request. */
#define FULL_USEC 20000
/* A process whose kept connection is to end is given so long before it is the next one's turn. */
#define RECLAIM_USEC 100000
/* So long the sockets are kept for clients whose connection is being made when the pool is told to end. */
#define CLEAR_USEC 200000

struct service {
  const struct mb_service *service;
  struct mb_pool_policy policy;
  int retire;         /* an eventfd: an idle child that takes 1 of it ends */
  pid_t reclaimed;    /* the last process whose kept connection was ended */
  int64_t reclaim_at; /* no other one is ended before, unless that process has ended */
  bool watched;       /* the wait that comes next ends when a connection waits */
};

struct generation {
  const struct mb_generation_start *start;
  const struct mb_script *script;
  struct service services[MB_POOL_SERVICES_MAX];
  int nservices;
  struct mb_pool_tasks tasks;
  int signals, wake; /* signalfd, eventfd */
  int drain[2];      /* a pipe: its reading end is every child's, its other end ours alone */
  bool draining;
  /*
   * While it drains: the sockets end then, or when nothing waits in them any more. 0: they have ended, or others accept
   * from them.
   */
  int64_t clear_until;
  bool is_alone;    /* the first process has gone */
  bool fork_failed; /* was logged */
};

/* ---- children ---- */

/*
 * Makes a child.
 * service  its number; below 0: a task's
 * Returns 0 in the child; its process id; or -errno.
 */
static pid_t make_process(struct generation *g, int service, int *ret_slot) {
  int slot = mb_pool_board_take(g->start->board, service);
  if (slot < 0) return -EAGAIN;
  pid_t pid = fork();
  int r = -errno;
  *ret_slot = slot;
  if (pid > 0) g->start->board->slots[slot].pid = pid;
  if (pid < 0) mb_pool_board_give(g->start->board, slot);
  return pid < 0 ? r : pid;
}

/* A child keeps what it needs, and its signals are those of a process that serves one connection. */
static void become_child(struct generation *g) {
  close(g->signals);
  if (g->drain[1] >= 0) close(g->drain[1]);
  if (!g->is_alone) close(g->start->channel);
  /* Under load it never waits, and so would not learn that its parent has died. */
  mb_rare_prctl(PR_SET_PDEATHSIG, SIGTERM);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

static enum mb_exit run_child(lua_State *L, struct generation *g, int service, int slot) {
  const struct mb_child_start start = {
      .options = g->start->options,
      .board = g->start->board,
      .slot = slot,
      .drain_fd = g->drain[0],
      .retire_fd = service < 0 ? -1 : g->services[service].retire,
      .wake_fd = g->wake,
      .sockets = g->start->sockets,
  };
  become_child(g);
  if (service < 0) return mb_task_run_once(L, mb_pool_tasks_entry(&g->tasks, service));
  return mb_pool_child(L, g->services[service].service, &start);
}

static void log_fork_failed(struct generation *g, int r) {
  if (!g->fork_failed)
    mb_log(LOG_WARNING, "pool: cannot make a process: %s; it is tried again after fork_error_delay",
           strerror(-r));
  g->fork_failed = true;
}

static void reap(struct generation *g) {
  struct mb_pool_board *board = g->start->board;
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    int slot = mb_pool_board_find(board, pid);
    if (slot < 0) continue; /* a program that a child has started and left behind */
    int service = board->slots[slot].service;
    uint64_t served = board->slots[slot].served;
    enum mb_child_state state = mb_pool_board_give(board, slot);
    int64_t now = mb_now_usec();
    if (service < 0) {
      mb_pool_tasks_ended(&g->tasks, service, status, now);
    } else {
      mb_pool_policy_ended(&g->services[service].policy,
                           mb_pool_child_ended(pid, status, state, served), now);
    }
  }
}

/* ---- what a service needs now ---- */

static bool owns(const struct service *s, const struct mb_pool_socket *socket) {
  return socket->entry->service == s->service;
}

/*
 * Does what the policy of a service says.
 * Returns true in a child that has ended, with its status. Otherwise lowers *again_at to the time at which this is to
 * be called again.
 */
static bool tend(lua_State *L, struct generation *g, int number, int64_t *again_at,
                 enum mb_exit *ret_exit) {
  struct service *s = &g->services[number];
  struct mb_pool_board *board = g->start->board;
  struct mb_pool_step step;
  const uint64_t one = 1;
  /* A child that leaves its idle state from here on wakes us: it is counted here or it is heard. */
  board->services[number].wake_below =
      s->policy.limits.pre_fork > 1 ? s->policy.limits.pre_fork : 1;
  board->services[number].wake_prepared = s->policy.probing;
  int64_t now = mb_now_usec();
  for (;;) {
    int states[MB_CHILD_KEPT + 1];
    mb_pool_board_count(board, number, states);
    struct mb_pool_counts counts = {.starting = states[MB_CHILD_STARTING],
                                    .idle = states[MB_CHILD_IDLE],
                                    .busy = states[MB_CHILD_BUSY] + states[MB_CHILD_KEPT],
                                    .prepared = board->services[number].prepared};
    if (counts.starting + counts.idle == 0)
      counts.waiting = mb_pool_sockets_have_waiting(g->start->sockets, s->service, board);
    step = mb_pool_policy_next(&s->policy, &counts, now);
    if (step.action == MB_POOL_WAIT) {
      /* The connection that has waited longest for another request ends, so that its process is free. */
      pid_t kept = mb_pool_board_kept_longest(board, number, now);
      bool is_ending = mb_pool_board_find(board, s->reclaimed) >= 0 && now < s->reclaim_at;
      if (step.full && counts.waiting && kept && !is_ending) {
        kill(kept, SIGTERM);
        s->reclaimed = kept; /* it takes a moment to end, and one is enough */
        s->reclaim_at = now + RECLAIM_USEC;
      }
      break;
    }
    if (step.action == MB_POOL_RETIRE) {
      if (write(s->retire, &one, sizeof one) < 0) break; /* it is asked for again */
      break;
    }
    int slot;
    pid_t pid = make_process(g, number, &slot);
    if (pid == 0) {
      *ret_exit = run_child(L, g, number, slot);
      return true;
    }
    if (pid < 0) {
      log_fork_failed(g, pid);
      mb_pool_policy_fork_failed(&s->policy, now);
    } else {
      g->fork_failed = false;
    }
  }
  s->watched = step.watch;
  if (step.full) step.again_at = now + FULL_USEC;
  if (step.again_at < *again_at) *again_at = step.again_at;
  return false;
}

/* Starts the interval or main that is due. Returns true in a child that has ended, with its status. */
static bool tend_tasks(lua_State *L, struct generation *g, int64_t *again_at,
                       enum mb_exit *ret_exit) {
  int64_t now = mb_now_usec();
  int task;
  while ((task = mb_pool_tasks_due(&g->tasks, now)) != 0) {
    int slot;
    pid_t pid = make_process(g, task, &slot);
    if (pid == 0) {
      *ret_exit = run_child(L, g, task, slot);
      return true;
    }
    if (pid < 0) log_fork_failed(g, pid);
    mb_pool_tasks_started(&g->tasks, task, pid > 0, now);
  }
  int64_t next = mb_pool_tasks_next(&g->tasks);
  if (next < *again_at) *again_at = next;
  return false;
}

/* ---- the end ---- */

/* Children end after their connections, idle ones at once. */
static void drain(struct generation *g) {
  struct mb_pool_board *board = g->start->board;
  if (g->draining) return;
  g->draining = true;
  board->draining = true;
  if (board->clearing) {
    g->clear_until = mb_now_usec() + CLEAR_USEC;
    /* Processes are made only for connections that wait. */
    for (int i = 0; i < g->nservices; i++)
      g->services[i].policy.limits.pre_fork = g->services[i].policy.limits.min_fork = 0;
  }
  close(g->drain[1]);
  g->drain[1] = -1;
  int n = board->nslots;
  for (int i = 0; i < n; i++) {
    const struct mb_pool_slot *s = &board->slots[i];
    /* An interval or a main ends by SIGTERM, and a script may wait for it in poll. With --dev its connection goes on. */
    if (s->service < 0 || (s->state == MB_CHILD_BUSY && !g->start->options->dev)) {
      if (s->pid > 0 && s->state != MB_CHILD_NONE) kill(s->pid, SIGTERM);
    }
  }
}

/* The first process has ended without a word: running connections go on, however long they take. */
static void outlive(struct generation *g) {
  close(g->start->channel);
  g->is_alone = true;
  if (!g->draining && g->start->options->mode == MB_MODE_LISTEN)
    mb_pool_sockets_stop(g->start->sockets, g->start->board);
  drain(g);
}

static void read_signals(struct generation *g) {
  struct signalfd_siginfo info;
  while (read(g->signals, &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGTERM) drain(g);
  }
}

/* ---- the loop ---- */

/* Waits until something has happened, and notes what. */
static void wait_for_events(struct generation *g, int64_t deadline) {
  enum { SIGNALS, WAKE, CHANNEL, FIXED };
  struct pollfd fds[FIXED + MB_POOL_SOCKETS_MAX] = {
      [SIGNALS] = {g->signals, POLLIN, 0},
      [WAKE] = {g->wake, POLLIN, 0},
      [CHANNEL] = {g->is_alone ? -1 : g->start->channel, POLLIN, 0},
  };
  size_t n = FIXED;
  for (int i = 0; i < g->start->sockets->count && (!g->draining || g->clear_until); i++) {
    const struct mb_pool_socket *socket = &g->start->sockets->list[i];
    if (g->start->board->cleared[i]) continue;
    for (int j = 0; j < g->nservices; j++) {
      if (g->services[j].watched && owns(&g->services[j], socket))
        fds[n++] = (struct pollfd){socket->fd, POLLIN, 0};
    }
  }
  int r = mb_fd_poll_all(fds, n, deadline);
  if (r < 0)
    mb_fd_poll_all(NULL, 0,
                   mb_now_usec() + 1000000); /* no memory: it passes, or it is logged elsewhere */
  if (r <= 0) return;
  uint64_t count;
  if (fds[WAKE].revents)
    while (read(g->wake, &count, sizeof count) > 0) continue;
  if (fds[SIGNALS].revents) read_signals(g);
  if (fds[CHANNEL].revents) outlive(g);
}

/* Calls tend for each service. Returns as it does. */
static bool tend_all(lua_State *L, struct generation *g, int64_t *again_at,
                     enum mb_exit *ret_exit) {
  for (int i = 0; i < g->nservices; i++) {
    if (tend(L, g, i, again_at, ret_exit)) return true;
  }
  return false;
}

/* Makes processes for the connections that wait in the sockets, and then ends these. Returns as tend does. */
static bool clear(lua_State *L, struct generation *g, int64_t *again_at, enum mb_exit *ret_exit) {
  if (tend_all(L, g, again_at, ret_exit)) return true;
  if (mb_now_usec() < g->clear_until) {
    if (g->clear_until < *again_at) *again_at = g->clear_until;
    return false;
  }
  for (int i = 0; i < g->nservices; i++) {
    /* Where prepare fails, nobody will take what waits. */
    if (!g->services[i].policy.probing &&
        mb_pool_sockets_have_waiting(g->start->sockets, g->services[i].service, g->start->board))
      return false;
  }
  mb_pool_sockets_end(g->start->sockets);
  g->clear_until = 0;
  return false;
}

static enum mb_exit loop(lua_State *L, struct generation *g) {
  enum mb_exit exit = MB_EXIT_OK;
  for (;;) {
    int64_t again_at = MB_NO_DEADLINE;
    reap(g);
    if (g->draining) {
      if (g->clear_until && clear(L, g, &again_at, &exit)) return exit;
      if (!g->clear_until && mb_pool_board_children(g->start->board) == 0) return MB_EXIT_OK;
    } else {
      if (tend_all(L, g, &again_at, &exit)) return exit;
      if (tend_tasks(L, g, &again_at, &exit)) return exit;
    }
    wait_for_events(g, again_at);
  }
}

/* ---- the beginning ---- */

static bool open_descriptors(struct generation *g) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, NULL);
  g->signals = MB_RARE(signalfd)(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  g->wake = MB_RARE(eventfd)(0, EFD_NONBLOCK | EFD_CLOEXEC);
  bool good = g->signals >= 0 && g->wake >= 0;
  for (int i = 0; i < g->nservices && good; i++) {
    g->services[i].retire = MB_RARE(eventfd)(0, EFD_NONBLOCK | EFD_CLOEXEC | EFD_SEMAPHORE);
    good = g->services[i].retire >= 0;
  }
  if (good && pipe2(g->drain, O_CLOEXEC) == 0) return true;
  mb_log(LOG_ERR, "pool: cannot begin: %s", strerror(errno));
  return false;
}

static bool is_known(const struct generation *g, const struct mb_service *service) {
  for (int i = 0; i < g->nservices; i++) {
    if (g->services[i].service == service) return true;
  }
  return false;
}

/* Makes a pool for each call of listen{} that has a socket. */
static bool find_services(struct generation *g, struct mb_pool_ready *ready) {
  int processors = (int)MB_RARE(sysconf)(_SC_NPROCESSORS_ONLN);
  for (int i = 0; i < g->start->sockets->count; i++) {
    const struct mb_service *service = g->start->sockets->list[i].entry->service;
    if (is_known(g, service)) continue;
    if (g->nservices == MB_POOL_SERVICES_MAX) {
      mb_log(LOG_ERR, "%s: more than %d calls of listen{}", g->script->path, MB_POOL_SERVICES_MAX);
      return false;
    }
    struct service *s = &g->services[g->nservices++];
    s->service = service;
    mb_pool_policy_init(&s->policy, service, processors > 0 ? processors : 1);
    ready->least += s->policy.limits.min_fork;
    ready->most += s->policy.limits.max_fork;
  }
  return true;
}

/* Makes everything ready for the first child, and says so. */
static enum mb_exit set_up(lua_State *L, struct generation *g) {
  const struct mb_script *script = g->script;
  struct mb_pool_sockets *sockets = g->start->sockets;
  struct mb_pool_ready ready = {0};
  mb_timeout_forget(); /* --timeout is for the load, and then for each connection */
  enum mb_exit exit = mb_pool_sockets_match(L, script->path, script->options, sockets);
  if (exit != MB_EXIT_OK) return exit;
  mb_pool_sockets_set_keepalive(sockets, g->start->options->keepalive);
  if (!find_services(g, &ready) || !mb_pool_tasks_find(L, script, &g->tasks)) return MB_EXIT_CONFIG;
  if (!open_descriptors(g)) return MB_EXIT_SYSTEM;
  lua_pushcfunction(L, mb_pool_share);
  if (mb_state_call(L, 0, 0) != LUA_OK) mb_script_log_error(L);
  fflush(NULL); /* what the script has written by now is written once, and not by each child */
  ready.nsockets = sockets->count;
  int r = mb_pool_channel_send(g->start->channel, &ready, sockets);
  if (r < 0) {
    mb_log(LOG_ERR, "pool: cannot tell that the script is loaded: %s", strerror(-r));
    return MB_EXIT_SYSTEM;
  }
  return MB_EXIT_OK;
}

/* The generation is not on the stack: each child would copy the pages around it. */
static enum mb_exit serve(lua_State *L, const struct mb_script *script, void *context) {
  struct generation *g = calloc(1, sizeof *g);
  if (!g) return MB_EXIT_SYSTEM;
  g->start = context;
  g->script = script;
  enum mb_exit exit = set_up(L, g);
  if (exit == MB_EXIT_OK) {
    exit = loop(L, g);
  } else {
    mb_pool_sockets_drop_new(g->start->sockets);
  }
  free(g);
  return exit;
}

enum mb_exit mb_pool_generation(const struct mb_generation_start *start) {
  const struct mb_pool_sockets *sockets = start->sockets;
  struct mb_addr told;
  const struct mb_addr *local = sockets->count ? &sockets->list[0].local : NULL;
  /* Nothing is open yet: the address on the command line says which script is meant. */
  if (!local && mb_serve_address_parse(start->options->mode_value, &told)) local = &told;
  bool may_fail = start->options->dev && sockets->count == 0;
  return (may_fail ? mb_dev_run_pool : mb_script_run_pool)(start->options, local, serve,
                                                           (void *)start);
}
