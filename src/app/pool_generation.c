/*
 * A generation: loads the script once, and makes and replaces children. A child leaves these functions by returning
 * the status of its end through all of them, so that the Lua state is closed as everywhere else.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/dev.h"
#include "app/pool_generation.h"
#include "app/script.h"
#include "app/serve_address.h"
#include "base/fdio.h"
#include "base/log.h"
#include "base/rare.h"

/* When all processes are busy, it is looked so often whether one of them only waits for another request. */
#define FULL_USEC 20000
/* A process whose kept connection is to end is given so long before it is the next one's turn. */
#define RECLAIM_USEC 100000
/* So long the sockets are kept for clients whose connection is being made when the pool is told to end. */
#define CLEAR_USEC 200000

/* ---- children ---- */

/*
 * Makes a child.
 * service  its number; below 0: a task's
 * Returns 0 in the child; its process id; or -errno.
 */
static pid_t make_process(struct mb_generation *g, int service, int *ret_slot) {
  int slot = mb_pool_roll_take(&g->roll, service);
  if (slot < 0) return -EAGAIN;
  pid_t pid = fork();
  int r = -errno;
  *ret_slot = slot;
  if (pid > 0) g->roll.members[slot].pid = pid;
  if (pid < 0) mb_pool_roll_give(&g->roll, slot);
  return pid < 0 ? r : pid;
}

/* A child keeps what it needs, and its signals are those of a process that serves one connection. */
static void become_child(struct mb_generation *g) {
  close(g->signals);
  if (g->drain[1] >= 0) close(g->drain[1]);
  if (!g->is_alone) close(g->start->channel);
  /* Under load it never waits, and so would not learn that its parent has died. */
  mb_rare_prctl(PR_SET_PDEATHSIG, SIGTERM);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

static enum mb_exit run_child(lua_State *L, struct mb_generation *g, int service, int slot) {
  const struct mb_child_start start = {
      .options = g->start->options,
      .board = g->start->board,
      .slot = slot,
      .number = service,
      .drain_fd = g->drain[0],
      .retire_fd = service < 0 ? -1 : g->services[service].retire,
      .wake_fd = g->wake,
      .sockets = g->start->sockets,
  };
  become_child(g);
  if (service < 0)
    return mb_task_run_once(L, g->start->options, mb_pool_tasks_entry(&g->tasks, service));
  return mb_pool_child(L, g->services[service].service, &start);
}

static void log_fork_failed(struct mb_generation *g, int r) {
  if (!g->fork_failed)
    mb_log(LOG_WARNING, "pool: cannot make a process: %s; it is tried again after fork_error_delay",
           strerror(-r));
  g->fork_failed = true;
}

static void reap(struct mb_generation *g) {
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    int slot = mb_pool_roll_find(&g->roll, pid);
    if (slot < 0) continue; /* a program that a child has started and left behind */
    int service = g->roll.members[slot].service;
    uint64_t served = g->start->board->slots[slot].served;
    enum mb_child_state state = mb_pool_roll_give(&g->roll, slot);
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

static bool owns(const struct mb_generation_service *s, const struct mb_pool_socket *socket) {
  return socket->entry->service == s->service;
}

/*
 * Does what the policy of a service says.
 * Returns true in a child that has ended, with its status. Otherwise lowers *again_at to the time at which this is to
 * be called again.
 */
static bool tend(lua_State *L, struct mb_generation *g, int number, int64_t *again_at,
                 enum mb_exit *ret_exit) {
  struct mb_generation_service *s = &g->services[number];
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
    mb_pool_roll_count(&g->roll, number, states);
    struct mb_pool_counts counts = {.starting = states[MB_CHILD_STARTING],
                                    .idle = states[MB_CHILD_IDLE],
                                    .busy = states[MB_CHILD_BUSY] + states[MB_CHILD_KEPT],
                                    .prepared = board->services[number].prepared};
    if (counts.starting + counts.idle == 0)
      counts.waiting = mb_pool_sockets_have_waiting(g->start->sockets, s->service, board);
    step = mb_pool_policy_next(&s->policy, &counts, now);
    if (step.action == MB_POOL_WAIT) {
      /* The connection that has waited longest for another request ends, so that its process is free. */
      pid_t kept = mb_pool_roll_kept_longest(&g->roll, number, now);
      bool is_ending = mb_pool_roll_find(&g->roll, s->reclaimed) >= 0 && now < s->reclaim_at;
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
static bool tend_tasks(lua_State *L, struct mb_generation *g, int64_t *again_at,
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
static void drain(struct mb_generation *g) {
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
  for (int i = 0; i < g->roll.count; i++) {
    const struct mb_pool_member *m = &g->roll.members[i];
    bool is_busy = mb_pool_board_state(board, i) == MB_CHILD_BUSY;
    if (!m->is_there || m->pid <= 0) continue;
    /* An interval or a main ends by SIGTERM, and a script may wait for it in poll. With --dev its connection goes on. */
    if (m->service < 0 || (is_busy && !g->start->options->dev)) kill(m->pid, SIGTERM);
  }
}

/* The first process has ended without a word: running connections go on, however long they take. */
static void outlive(struct mb_generation *g) {
  close(g->start->channel);
  g->is_alone = true;
  if (!g->draining && g->start->options->mode == MB_MODE_LISTEN)
    mb_pool_sockets_stop(g->start->sockets, g->start->board);
  drain(g);
}

static void read_signals(struct mb_generation *g) {
  struct signalfd_siginfo info;
  while (read(g->signals, &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGTERM) drain(g);
  }
}

/* ---- the loop ---- */

/* Waits until something has happened, and notes what. */
static void wait_for_events(struct mb_generation *g, int64_t deadline) {
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
static bool tend_all(lua_State *L, struct mb_generation *g, int64_t *again_at,
                     enum mb_exit *ret_exit) {
  if (!g->start->board->draining && atomic_exchange(&g->start->board->is_deaf, false))
    mb_pool_sockets_mend(g->start->sockets);
  for (int i = 0; i < g->nservices; i++) {
    if (tend(L, g, i, again_at, ret_exit)) return true;
  }
  return false;
}

/* Makes processes for the connections that wait in the sockets, and then ends these. Returns as tend does. */
static bool clear(lua_State *L, struct mb_generation *g, int64_t *again_at,
                  enum mb_exit *ret_exit) {
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

static enum mb_exit loop(lua_State *L, struct mb_generation *g) {
  enum mb_exit exit = MB_EXIT_OK;
  for (;;) {
    int64_t again_at = MB_NO_DEADLINE;
    reap(g);
    if (g->draining) {
      if (g->clear_until && clear(L, g, &again_at, &exit)) return exit;
      if (!g->clear_until && mb_pool_roll_children(&g->roll) == 0) return MB_EXIT_OK;
    } else {
      if (tend_all(L, g, &again_at, &exit)) return exit;
      if (tend_tasks(L, g, &again_at, &exit)) return exit;
    }
    wait_for_events(g, again_at);
  }
}

/* ---- the beginning ---- */

/* The generation is not on the stack: each child would copy the pages around it. */
static enum mb_exit serve(lua_State *L, const struct mb_script *script, void *context) {
  struct mb_generation *g = calloc(1, sizeof *g);
  if (!g) return MB_EXIT_SYSTEM;
  g->start = context;
  g->roll.board = g->start->board;
  g->script = script;
  enum mb_exit exit = mb_generation_set_up(L, g);
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
