/*
 * The first process of a pool: holds the listening sockets, starts a generation for each load of the script, and ends
 * all of them. It has no Lua state, and so nothing of a script can end it.
 */
#include "app/pool.h"
#include "app/sandbox_step.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/dev.h"
#include "app/dev_watch.h"
#include "app/pool_channel.h"
#include "app/pool_notify.h"
#include "app/pool_signals.h"
#include "base/fdio.h"
#include "base/log.h"
#include "base/rare.h"

/* A generation that has died is not started again earlier than that after its start. */
#define RESTART_USEC 2000000
/* A load that takes longer is given up when another one is asked for: it may hang. */
#define LOAD_USEC 2000000
/* Generations that drain, and those that died while children of theirs still served. */
#define GENERATIONS_MAX 256

enum generation_state {
  LOADING,
  SERVING,
  DRAINING,
  ORPHANED, /* the process has died, and children of it may still serve */
};

struct generation {
  pid_t pid; /* also its process group */
  enum generation_state state;
  int channel; /* -1: closed */
  int64_t began;
  struct mb_pool_board *board;
};

struct pool {
  const struct mb_options *options;
  struct mb_pool_sockets sockets;
  struct generation list[GENERATIONS_MAX];
  int count;
  uint64_t served_before; /* connections of generations that have ended */
  int64_t last_before;    /* when the last of these came */
  int least, most;        /* processes of the generation that serves */
  int signals;
  bool reload;        /* another load is wanted, once the one that runs has come to its end */
  int64_t restart_at; /* MB_NO_DEADLINE: nothing is to be started again */
  bool ending;
  int64_t kill_at;
  enum mb_exit exit;
  struct mb_pool_notify notify;
  bool is_announced, is_again; /* the log says that it listens; it has listened before */
};

static struct generation *in_state(struct pool *p, enum generation_state state) {
  for (int i = 0; i < p->count; i++) {
    if (p->list[i].state == state) return &p->list[i];
  }
  return NULL;
}

static void close_channel(struct generation *g) {
  if (g->channel >= 0) close(g->channel);
  g->channel = -1;
}

static void kill_group(const struct generation *g, int number) { kill(-g->pid, number); }

/* ---- starting ---- */

/* The process of a generation. Nothing of the first process is left in it but the sockets and the board. */
static enum mb_exit be_generation(struct pool *p, struct mb_pool_board *board, int channel) {
  mb_pool_signals_leave(p->signals);
  /* Ctrl-C is for the first process; and all that is below can be killed at once. */
  mb_rare_setpgid(0, 0);
  for (int i = 0; i < p->count; i++) close_channel(&p->list[i]);
  mb_pool_notify_forget();
  mb_dev_watch_leave();
  const struct mb_generation_start start = {
      .options = p->options, .sockets = &p->sockets, .board = board, .channel = channel};
  return mb_pool_generation(&start);
}

/*
 * Starts a generation.
 * Returns 0 in its process, which has ended then, with *ret_exit; its process id; or -errno.
 */
static pid_t start(struct pool *p, enum mb_exit *ret_exit) {
  int ends[2];
  if (p->count == GENERATIONS_MAX) return -EAGAIN;
  if (MB_RARE(socketpair)(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return -errno;
  struct mb_pool_board *board = mb_pool_board_new();
  pid_t pid = board ? fork() : -1;
  if (pid < 0) {
    int r = board ? -errno : -ENOMEM;
    mb_pool_board_free(board);
    close(ends[0]);
    close(ends[1]);
    return r;
  }
  if (pid == 0) {
    close(ends[0]);
    *ret_exit = be_generation(p, board, ends[1]);
    mb_pool_leave(*ret_exit);
    return 0;
  }
  close(ends[1]);
  /* It does so itself, too: a signal to the group must not come earlier. */
  mb_rare_setpgid(pid, pid);
  p->list[p->count++] = (struct generation){
      .pid = pid, .state = LOADING, .channel = ends[0], .began = mb_now_usec(), .board = board};
  return pid;
}

/* ---- what generations say ---- */

static void retire(struct generation *g) {
  g->state = DRAINING;
  g->board->draining = true; /* no process of it that is free from now on takes a connection */
  kill(g->pid, SIGTERM);
}

static void log_ready(struct pool *p) {
  p->is_announced = true;
  char where[1024];
  if (p->options->dev) {
    mb_dev_watch_log(p->options, &p->sockets, p->is_again);
    return;
  }
  mb_pool_sockets_describe(&p->sockets, where, sizeof where);
  mb_log(LOG_NOTICE, "pool: %s%s, %d to %d processes",
         p->is_again ? "loaded anew, listening on " : "listening on ", where, p->least, p->most);
}

static void hear(struct pool *p, struct generation *g) {
  struct mb_pool_ready ready;
  int fds[MB_POOL_SOCKETS_MAX];
  int r = mb_pool_channel_receive(g->channel, &ready, fds);
  if (r == -EAGAIN) return;
  if (r <= 0) { /* it ends, and will be reaped */
    if (r < 0) mb_log(LOG_ERR, "pool: cannot hear of a loaded script: %s", strerror(-r));
    close_channel(g);
    if (r < 0) kill_group(g, SIGKILL);
    return;
  }
  struct generation *before = in_state(p, SERVING);
  /* First: a socket that it loses is none that somebody else has shut down. */
  if (before) before->board->draining = true;
  mb_pool_sockets_keep(&p->sockets, p->options, fds, ready.nsockets);
  p->least = ready.least;
  p->most = ready.most;
  g->state = SERVING;
  if (before) retire(before);
  p->is_announced = false;
  p->is_again = before != NULL;
  mb_pool_notify_ready(&p->notify, false);
}

/* ---- ends ---- */

static void forget(struct pool *p, struct generation *g) {
  close_channel(g);
  p->served_before += g->board->served;
  if (g->board->last > p->last_before) p->last_before = g->board->last;
  mb_pool_board_free(g->board);
  *g = p->list[--p->count];
}

/* Ends all generations after their connections, or at once. */
static void end_all(struct pool *p, bool at_once) {
  if (!p->ending) {
    mb_pool_notify_stopping();
    double grace = p->options->grace > 0 ? p->options->grace : MB_POOL_GRACE;
    p->kill_at = mb_now_usec() + mb_usec_of(grace);
    struct generation *serving = in_state(p, SERVING);
    if (serving && p->options->mode == MB_MODE_LISTEN)
      mb_pool_sockets_stop(&p->sockets, serving->board);
  }
  p->ending = true;
  p->restart_at = MB_NO_DEADLINE;
  for (int i = 0; i < p->count; i++) {
    struct generation *g = &p->list[i];
    if (at_once || g->state == LOADING) {
      kill_group(g, SIGKILL);
    } else if (g->state == ORPHANED || p->options->dev) {
      kill_group(g, SIGTERM); /* with --dev children hear of their end by nothing else */
    } else {
      retire(g);
    }
  }
}

/* A generation has ended before it served. */
static void load_failed(struct pool *p, struct generation *g, int status) {
  enum mb_exit exit = mb_pool_load_ended(status, p->ending);
  forget(p, g);
  if (p->ending) return;
  if (in_state(p, SERVING)) {
    mb_log(LOG_ERR, "pool: the script was not loaded anew: %s",
           p->options->dev ? "requests get the error" : "the one that was loaded before goes on");
    mb_pool_notify_ready(&p->notify, true);
    return;
  }
  p->exit = exit == MB_EXIT_OK ? MB_EXIT_CONFIG : exit;
  end_all(p, false);
}

static void ended(struct pool *p, struct generation *g, int status) {
  if (g->state == LOADING) {
    load_failed(p, g, status);
    return;
  }
  if (g->state == SERVING && !p->ending) {
    mb_pool_generation_ended(g->pid, status);
    p->restart_at = g->began + RESTART_USEC;
  }
  g->state = ORPHANED;
  close_channel(g);
  if (p->ending) kill_group(g, SIGTERM); /* programs that a script has left behind */
}

/* Reaps generations, and the children of those that have died: this process is their parent then. */
static void reap(struct pool *p) {
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    for (int i = 0; i < p->count; i++) {
      if (p->list[i].pid != pid || p->list[i].state == ORPHANED) continue;
      ended(p, &p->list[i], status);
      break;
    }
  }
  for (int i = p->count - 1; i >= 0; i--) {
    if (p->list[i].state == ORPHANED && kill(-p->list[i].pid, 0) != 0) forget(p, &p->list[i]);
  }
}

static void read_signals(struct pool *p) {
  enum mb_pool_signal signal;
  while ((signal = mb_pool_signals_next(p->signals)) != MB_POOL_SIGNAL_NONE) {
    if (signal == MB_POOL_SIGNAL_RELOAD) {
      p->reload = true;
    } else if (signal != MB_POOL_SIGNAL_CHILD) {
      end_all(p, p->ending || (p->options->dev && signal == MB_POOL_SIGNAL_INTERRUPT));
    }
  }
}

/* ---- the loop ---- */

/* Returns the numbers of all generations. */
static struct mb_pool_numbers count(const struct pool *p) {
  struct mb_pool_numbers n = {.served = p->served_before, .last = p->last_before};
  for (int i = 0; i < p->count; i++) {
    int states[MB_CHILD_KEPT + 1];
    const struct mb_pool_board *board = p->list[i].board;
    n.served += board->served;
    if (board->last > n.last) n.last = board->last;
    if (p->list[i].state == ORPHANED) continue; /* the slots are not kept any more */
    mb_pool_board_count(board, states);
    n.busy += states[MB_CHILD_BUSY] + states[MB_CHILD_KEPT];
    n.idle += states[MB_CHILD_STARTING] + states[MB_CHILD_IDLE];
    if (p->list[i].state == DRAINING) n.leaving += states[MB_CHILD_IDLE];
  }
  return n;
}

/* Ends the pool when no connection has come for so long. Returns when to look again. */
static int64_t look_for_idleness(struct pool *p, int64_t now) {
  struct generation *serving = in_state(p, SERVING);
  if (p->options->exit_idle <= 0 || p->ending || !serving) return MB_NO_DEADLINE;
  struct mb_pool_numbers n = count(p);
  int64_t from = n.last > serving->began ? n.last : serving->began;
  int64_t span = mb_usec_of(p->options->exit_idle);
  if (n.busy > 0 || in_state(p, ORPHANED)) return now + span; /* what an orphan does is not known */
  if (now < from + span) return from + span;
  mb_log(LOG_NOTICE, "pool: no connection for %.14g s (--exit-idle): it ends",
         p->options->exit_idle);
  end_all(p, false);
  return MB_NO_DEADLINE;
}

static int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

/*
 * Does what is due. Returns when something is due again.
 * ret_forked  true in the process of a generation, which has ended with p->exit
 */
static int64_t step(struct pool *p, bool *ret_forked) {
  int64_t now = mb_now_usec(), changes_at = MB_NO_DEADLINE;
  bool restart = now >= p->restart_at;
  if (mb_dev_watch_is_due(now, &changes_at)) p->reload = true;
  if (p->ending && now >= p->kill_at) {
    p->kill_at = MB_NO_DEADLINE;
    if (p->count > 0)
      mb_log(LOG_NOTICE,
             "pool: the grace is over: what is left is ended, and connections are reset");
    end_all(p, true);
  }
  struct generation *loading = in_state(p, LOADING);
  if (p->reload && loading && in_state(p, SERVING) && now - loading->began > LOAD_USEC) {
    mb_log(LOG_WARNING,
           "pool: a load of the script that has not ended yet is given up for another one");
    kill_group(loading, SIGKILL);
  }
  if (!p->ending && (p->reload || restart) && !loading) {
    if (p->reload) mb_pool_notify_reloading(&p->notify);
    p->reload = false;
    p->restart_at = MB_NO_DEADLINE;
    pid_t pid = start(p, &p->exit);
    *ret_forked = pid == 0;
    if (pid < 0) {
      mb_log(LOG_ERR, "pool: cannot start a process: %s", strerror(-pid));
      if (in_state(p, SERVING)) {
        mb_pool_notify_ready(&p->notify, true);
      } else {
        p->restart_at = now + RESTART_USEC;
      }
    }
  }
  int64_t again_at = earlier(earlier(p->restart_at, changes_at), look_for_idleness(p, now));
  if (p->ending) again_at = p->kill_at;
  struct mb_pool_numbers numbers = count(p);
  again_at = earlier(again_at, mb_pool_notify_status(&p->notify, &numbers, now));
  if (p->notify.ready_by == 0 && !p->is_announced && !in_state(p, LOADING)) log_ready(p);
  return again_at;
}

static void wait_for_events(struct pool *p, int64_t deadline) {
  struct pollfd fds[1 + GENERATIONS_MAX + MB_DEV_WATCH_FDS] = {{p->signals, POLLIN, 0}};
  int n = p->count, all = 1 + n;
  for (int i = 0; i < n; i++) fds[1 + i] = (struct pollfd){p->list[i].channel, POLLIN, 0};
  all += mb_dev_watch_fds(fds + all);
  if (mb_fd_poll_all(fds, (size_t)all, deadline) <= 0) return;
  mb_dev_watch_look();
  for (int i = 0; i < n; i++) {
    if (fds[1 + i].revents && p->list[i].channel >= 0) hear(p, &p->list[i]);
  }
  if (fds[0].revents) read_signals(p);
}

static enum mb_exit loop(struct pool *p) {
  bool forked = false;
  for (;;) {
    reap(p);
    if (p->ending && p->count == 0) break;
    int64_t again_at = step(p, &forked);
    if (forked) return p->exit;
    wait_for_events(p, again_at);
  }
  mb_pool_sockets_close(&p->sockets, true);
  return p->exit;
}

static enum mb_exit begin(struct pool *p, int fd, int count) {
  enum mb_exit exit = mb_pool_sockets_take(&p->sockets, fd, count);
  if (exit != MB_EXIT_OK) return exit;
  p->signals = mb_pool_signals_catch();
  if (p->signals < 0) {
    mb_log(LOG_ERR, "pool: cannot wait for signals: %s", strerror(-p->signals));
    return MB_EXIT_SYSTEM;
  }
  /* The children of a generation that dies become ours: they can be ended, and counted. */
  mb_rare_prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (p->options->dev && !mb_dev_begin()) return MB_EXIT_SYSTEM;
  return loop(p);
}

enum mb_exit mb_pool_run(const struct mb_options *options, int fd, int count) {
  struct pool *p = calloc(1, sizeof *p);
  if (!p) return MB_EXIT_SYSTEM;
  enum mb_exit exit = mb_sandbox_step_pool(options);
  p->options = options;
  p->kill_at = MB_NO_DEADLINE;
  p->is_announced = true;
  if (exit == MB_EXIT_OK) exit = begin(p, fd, count);
  free(p);
  return exit;
}
