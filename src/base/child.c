/* Child processes. Knows neither Lua nor the log. */
#include "base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/rare.h"
#include "base/refused.h"

struct mb_child {
  pid_t pid; /* 0: it was abandoned, and is reaped */
  int guard_fd; /* the guard of its process group waits for the end of this pipe; -1: it has no guard */
  struct mb_child *next;
};

/* The children that nobody waits for. The list changes only while SIGCHLD is blocked. */
static struct mb_child *abandoned;

static volatile sig_atomic_t has_signalled;

/* A child inherits no descriptor that a handler has opened: run closes them from this number on. */
#define FIRST_CLOSED 4
#define REPORT_FD    3

/*
 * A process group that is to end with us has a guard, which is its leader: a shell that reads a pipe of
 * which we alone have the other end. So the guard learns of our end, whatever the way, and the number of
 * the group is no other's as long as the guard lives. After SIGTERM the group has a second.
 */
static const char *const guard_argv[] = {"/bin/sh", "-c",
                                         "trap '' HUP INT QUIT ALRM TERM USR1 USR2; read -r end; "
                                         "kill -TERM 0; sleep 1; kill -KILL 0",
                                         NULL};

/* What a new process does about its process group; above 0: it enters that group. */
enum { GROUP_OURS = -1, GROUP_NEW = 0 };

/*
 * Gives all signals their default action. The C library hides two signals from sigaction, and its
 * posix_spawn leaves them ignored in the programs that it starts: in make, for example, and so in us.
 */
static void reset_signals(void) {
  static const struct sigaction standard; /* all zero, which the kernel's own structure is too */
  for (int number = 1; number < NSIG; number++) {
    if (sigaction(number, &standard, NULL) != 0)
      syscall(SYS_rt_sigaction, number, &standard, NULL, NSIG / 8);
  }
}

/*
 * Runs in the child: becomes the program, or reports why it cannot. It shares the parent's memory and
 * must not change what the parent uses.
 */
static void __attribute__((noreturn))
run(const char *const argv[], const int stdio[3], int group, int report) {
  reset_signals();
  bool ready = group == GROUP_OURS || mb_rare_setpgid(0, group) == 0;
  for (int i = 0; i < 3; i++) ready = ready && dup2(stdio[i], i) == i;
  if (ready && report != REPORT_FD) ready = dup3(report, REPORT_FD, O_CLOEXEC) == REPORT_FD;
  if (ready) {
    report = REPORT_FD;
    closefrom(FIRST_CLOSED);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(argv[0], (char *const *)argv);
  }
  int error = errno;
  while (write(report, &error, sizeof error) < 0 && errno == EINTR) continue;
  _exit(127);
}

/* Starts the process, which writes to report[1] when it cannot become the program. */
static pid_t start_process(const char *const argv[], const int stdio[3], int group,
                           const int report[2]) {
  /* Our handlers must not run in the child, whose memory is ours until it has become the program. */
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  pid_t pid = vfork();
  if (pid == 0) run(argv, stdio, group, report[1]);
  int r = pid < 0 ? -errno : pid;
  sigprocmask(SIG_SETMASK, &before, NULL);
  return r;
}

static int reap(pid_t pid, int options, int *ret_status) {
  pid_t reaped;
  do {
    reaped = waitpid(pid, ret_status, options);
  } while (reaped < 0 && errno == EINTR);
  return reaped < 0 ? -errno : reaped;
}

/* Returns 0 when the program was executed, which closes the pipe; -errno when it was not. */
static int read_report(int fd) {
  int error;
  ssize_t n;
  do {
    n = read(fd, &error, sizeof error);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return -errno;
  return n == 0 ? 0 : -error;
}

static void close_all(const int *fds, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (fds[i] >= 0) close(fds[i]);
  }
}

static int start_and_check(const char *const argv[], const int stdio[3], int group,
                           pid_t *ret_pid) {
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return -errno;
  int r = start_process(argv, stdio, group, report);
  close(report[1]);
  if (r > 0) {
    pid_t pid = r;
    r = read_report(report[0]);
    if (r < 0) {
      reap(pid, 0, NULL);
    } else {
      *ret_pid = pid;
    }
  }
  close(report[0]);
  if (r < 0) mb_refused(-r, MB_REFUSED_EXEC, argv[0], 0);
  return r;
}

/* Makes three pipes: ours[i] and theirs[i] are the ends for the child's descriptor i. */
static int make_pipes(int ours[3], int theirs[3]) {
  for (int i = 0; i < 3; i++) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return -errno;
    int to_child = i == 0;
    ours[i] = ends[to_child];
    theirs[i] = ends[!to_child];
    int r = mb_fd_set_nonblocking(ours[i], true);
    if (r < 0) return r;
  }
  return 0;
}

/* Starts the guard of a new process group. Returns 0, or -errno. */
static int start_guard(pid_t *ret_pid, int *ret_fd) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return -errno;
  const int stdio[3] = {ends[0], ends[0], ends[0]};
  int r = start_and_check(guard_argv, stdio, GROUP_NEW, ret_pid);
  close(ends[0]);
  if (r < 0) {
    close(ends[1]);
  } else {
    *ret_fd = ends[1];
  }
  return r;
}

/* Starts the child in a group with a guard. The guard's process is reaped as an abandoned child is. */
static int start_guarded(const char *const argv[], const int stdio[3], struct mb_child *child) {
  struct mb_child *guard = malloc(sizeof *guard);
  if (!guard) return -ENOMEM;
  guard->guard_fd = -1;
  int r = start_guard(&guard->pid, &child->guard_fd);
  if (r == 0) {
    r = start_and_check(argv, stdio, guard->pid, &child->pid);
    if (r == 0) {
      mb_child_abandon(guard);
      return 0;
    }
    kill(guard->pid, SIGKILL); /* first: at the end of its pipe the guard would start sleep(1) */
    close(child->guard_fd);
    reap(guard->pid, 0, NULL);
  }
  free(guard);
  return r;
}

int mb_child_start(const char *const argv[], bool ends_with_us, struct mb_child_pipes *ret_pipes,
                   struct mb_child **ret) {
  int ours[3] = {-1, -1, -1}, theirs[3] = {-1, -1, -1};
  struct mb_child *child = malloc(sizeof *child);
  int r = child ? make_pipes(ours, theirs) : -ENOMEM;
  if (r == 0) {
    child->guard_fd = -1;
    r = ends_with_us ? start_guarded(argv, theirs, child)
                     : start_and_check(argv, theirs, GROUP_OURS, &child->pid);
  }
  close_all(theirs, 3);
  if (r < 0) {
    close_all(ours, 3);
    free(child);
    return r;
  }
  memcpy(ret_pipes->fd, ours, sizeof ours);
  *ret = child;
  return 0;
}

pid_t mb_child_pid(const struct mb_child *child) { return child->pid; }

int mb_child_wait(struct mb_child *child, bool wait, int *ret_result) {
  int status;
  int r = reap(child->pid, wait ? 0 : WNOHANG, &status);
  if (r < 0) return r;
  if (r == 0) return -EAGAIN;
  *ret_result = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  close_all(&child->guard_fd, 1);
  free(child);
  return 0;
}

int mb_child_kill(const struct mb_child *child, int signal_number) {
  return kill(child->pid, signal_number) == 0 ? 0 : -errno;
}

bool mb_child_has_ended(const struct mb_child *child) {
  siginfo_t info = {.si_pid = 0};
  int r = waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT);
  /* With ECHILD somebody else has reaped it: it has ended, too. */
  return r == 0 ? info.si_pid != 0 : errno == ECHILD;
}

/* Handles SIGCHLD: reaps the abandoned children only, as somebody waits for the others. */
static void reap_abandoned(int signal_number) {
  (void)signal_number;
  int error = errno;
  for (struct mb_child *c = abandoned; c; c = c->next) {
    if (c->pid == 0 || waitpid(c->pid, NULL, WNOHANG) == 0) continue;
    c->pid = 0;
    close_all(&c->guard_fd, 1);
  }
  has_signalled = 1;
  errno = error;
}

/* Holds SIGCHLD back; returns the mask as it was. */
static sigset_t block_signal(void) {
  sigset_t ours, before;
  sigemptyset(&ours);
  sigaddset(&ours, SIGCHLD);
  sigprocmask(SIG_BLOCK, &ours, &before);
  return before;
}

void mb_child_catch_signal(void) {
  const struct sigaction action = {.sa_handler = reap_abandoned,
                                   .sa_flags = SA_RESTART | SA_NOCLDSTOP};
  sigaction(SIGCHLD, &action, NULL);
  sigset_t mask = block_signal();
  sigdelset(&mask, SIGCHLD); /* the process that started us may have blocked it */
  sigprocmask(SIG_SETMASK, &mask, NULL);
}

static void free_reaped(void) {
  for (struct mb_child **at = &abandoned; *at;) {
    struct mb_child *c = *at;
    if (c->pid == 0) {
      *at = c->next;
      free(c);
    } else {
      at = &c->next;
    }
  }
}

void mb_child_abandon(struct mb_child *child) {
  mb_child_catch_signal();
  sigset_t before = block_signal();
  /* It may have ended already. */
  if (waitpid(child->pid, NULL, WNOHANG) != 0) {
    child->pid = 0;
    close_all(&child->guard_fd, 1);
  }
  child->next = abandoned;
  abandoned = child;
  free_reaped();
  sigprocmask(SIG_SETMASK, &before, NULL);
}

void mb_child_end_abandoned(void) {
  if (!abandoned) return;
  sigset_t before = block_signal();
  for (struct mb_child *c = abandoned; c; c = c->next) {
    close_all(&c->guard_fd, 1); /* the guard waits for that */
    c->guard_fd = -1;
  }
  free_reaped();
  sigprocmask(SIG_SETMASK, &before, NULL);
}

bool mb_child_take_signal(void) {
  bool signalled = has_signalled;
  has_signalled = 0;
  return signalled;
}
