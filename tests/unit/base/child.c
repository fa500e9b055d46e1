/*
 * src/base/child.c: programs that can be started, and others; the things that a program inherits; how it
 * ends; and children that nobody waits for.
 */
#include "base/child.h"

#include <errno.h>
#include <poll.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "../../lib/tap.h"

static int count_descriptors(void) {
  int count = 0;
  for (int fd = 0; fd < 200; fd++) count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

static struct mb_child *start(const char *const argv[], struct mb_child_pipes *pipes) {
  struct mb_child *child;
  int r = mb_child_start(argv, false, pipes, &child);
  tap_int(r, 0, "%s starts", argv[0]);
  if (r < 0) tap_bail("nothing to go on with");
  return child;
}

static void close_pipes(const struct mb_child_pipes *pipes) {
  for (int i = 0; i < 3; i++) close(pipes->fd[i]);
}

/* Starts a shell command without keeping its pipes. */
static struct mb_child *shell(const char *command) {
  const char *const argv[] = {"sh", "-c", command, NULL};
  struct mb_child_pipes pipes;
  struct mb_child *child = start(argv, &pipes);
  close_pipes(&pipes);
  return child;
}

/* Reads a pipe of the child, which does not block. */
static ssize_t read_pipe(int fd, void *data, size_t len, bool wait) {
  for (;;) {
    ssize_t n = read(fd, data, len);
    if (n >= 0) return n;
    int r = mb_fd_try_again(fd, POLLIN, wait);
    if (r < 0) return r;
  }
}

static void talk(void) {
  const char *const argv[] = {"sh", "-c", "cat; echo error >&2; exit 7", NULL};
  struct mb_child_pipes pipes;
  int before = count_descriptors(), result;
  struct mb_child *child = start(argv, &pipes);
  char data[32];
  tap_int(mb_child_wait(child, false, &result), -EAGAIN, "it runs");
  tap_int(read_pipe(pipes.fd[1], data, sizeof data, false), -EAGAIN, "it says nothing");
  tap_int(write(pipes.fd[0], "hello", 5), 5, "its input");
  tap_int(read_pipe(pipes.fd[1], data, sizeof data, true), 5, "its output");
  tap_bytes(data, 5, "hello", 5, "is what cat makes of it");
  close(pipes.fd[0]);
  tap_int(read_pipe(pipes.fd[1], data, sizeof data, true), 0, "the end of its output");
  tap_int(read_pipe(pipes.fd[2], data, sizeof data, true), 6, "its errors");
  tap_int(mb_child_wait(child, true, &result), 0, "it ends");
  tap_int(result, 7, "with its status");
  close(pipes.fd[1]);
  close(pipes.fd[2]);
  tap_int(count_descriptors(), before, "no descriptor is left over");
}

static void cannot_start(void) {
  static const struct {
    const char *program;
    int error;
  } cases[] = {
      {"no-such-program-anywhere", ENOENT},
      {"/no/such/program", ENOENT},
      {"", ENOENT},
      {"/dev/null", EACCES},
      {"/", EACCES},
  };
  int before = count_descriptors();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *const argv[] = {cases[i].program, NULL};
    struct mb_child_pipes pipes = {{77, 77, 77}};
    struct mb_child *child = NULL;
    tap_int(mb_child_start(argv, false, &pipes, &child), -cases[i].error, "\"%s\"",
            cases[i].program);
    tap_ok(!child && pipes.fd[0] == 77, "the outputs are as they were");
  }
  tap_int(count_descriptors(), before, "no descriptor is left over");
  tap_int(waitpid(-1, NULL, WNOHANG), -1, "no process is left over");
  tap_int(errno, ECHILD, "none at all");
}

static void ends(void) {
  static const struct {
    const char *command;
    int result;
  } cases[] = {
      {"exit 0", 0},
      {"exit 255", 255},
      {"kill -9 $$", -9},
      {"kill -TERM $$", -15},
  };
  int result;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tap_int(mb_child_wait(shell(cases[i].command), true, &result), 0, "%s", cases[i].command);
    tap_int(result, cases[i].result, "its result");
  }
  struct mb_child *child = shell("exec sleep 60");
  tap_int(mb_child_kill(child, 0), 0, "it can be signalled");
  tap_ok(!mb_child_has_ended(child), "it has not ended");
  tap_int(mb_child_kill(child, SIGKILL), 0, "it is killed");
  siginfo_t info;
  waitid(P_PID, (id_t)mb_child_pid(child), &info, WEXITED | WNOWAIT);
  tap_ok(mb_child_has_ended(child), "it has ended");
  tap_ok(mb_child_has_ended(child), "and still has");
  tap_int(mb_child_wait(child, false, &result), 0, "then waiting takes no time");
  tap_int(result, -SIGKILL, "its result");
}

/* A child inherits none of our descriptors, and no blocked or ignored signal. */
static void inherits_nothing(void) {
  const struct itimerval far = {.it_value.tv_sec = 1000}, off = {.it_value.tv_sec = 0};
  sigset_t usr1;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  sigprocmask(SIG_BLOCK, &usr1, NULL);
  signal(SIGHUP, SIG_IGN);
  /* posix_spawn leaves these two signals ignored: see reset_signals. */
  const struct {
    void (*handler)(int);
    unsigned long rest[7];
  } ignore = {.handler = SIG_IGN};
  for (int number = 32; number <= 33; number++) syscall(SYS_rt_sigaction, number, &ignore, NULL, 8);
  setitimer(ITIMER_REAL, &far, NULL);
  int open_in_child = dup(1); /* not close-on-exec */
  const char *const argv[] = {
      "sh", "-c",
      "ls /proc/self/fd | tr '\\n' ' '; "
      "sed -n 's/^Sig\\(Blk\\|Ign\\):[[:space:]]*/\\1 /p' /proc/self/status",
      NULL};
  struct mb_child_pipes pipes;
  struct mb_child *child = start(argv, &pipes);
  char said[256];
  size_t len = 0;
  ssize_t n;
  while ((n = read_pipe(pipes.fd[1], said + len, sizeof said - 1 - len, true)) > 0)
    len += (size_t)n;
  said[len] = '\0';
  /* Descriptor 3 is the directory that ls lists. */
  tap_str(said, "0 1 2 3 Blk 0000000000000000\nIgn 0000000000000000\n",
          "no descriptor, blocked or ignored signal");
  int result;
  mb_child_wait(child, true, &result);
  close_pipes(&pipes);
  close(open_in_child);
  struct itimerval left;
  getitimer(ITIMER_REAL, &left);
  tap_ok(left.it_value.tv_sec > 900, "our timer runs on");
  setitimer(ITIMER_REAL, &off, NULL);
  sigset_t now;
  sigprocmask(SIG_SETMASK, NULL, &now);
  tap_ok(sigismember(&now, SIGUSR1) == 1 && sigismember(&now, SIGTERM) == 0,
         "our mask is as it was");
}

/* Waits until there is no child at all; only the handler reaps them. Returns false after too long a time. */
static bool all_reaped(void) {
  int64_t deadline = mb_now_usec() + 10000000;
  while (mb_now_usec() < deadline) {
    siginfo_t info;
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD) return true;
    const struct timespec pause = {.tv_nsec = 1000000};
    nanosleep(&pause, NULL);
  }
  return false;
}

static void nobody_waits(void) {
  mb_child_catch_signal();
  mb_child_take_signal();
  mb_child_abandon(shell("exit 0"));
  for (int i = 0; i < 5; i++) mb_child_abandon(shell("read x; exit 1"));
  tap_ok(all_reaped(), "abandoned children are reaped when they end");
  tap_ok(mb_child_take_signal(), "and that is told");
  tap_ok(!mb_child_take_signal(), "once");
  struct mb_child *waited = shell("exit 5"), *ended = shell("exit 0");
  siginfo_t info;
  waitid(P_PID, (id_t)mb_child_pid(ended), &info, WEXITED | WNOWAIT); /* a zombie when abandoned */
  mb_child_abandon(ended);
  int result = 0;
  tap_int(mb_child_wait(waited, true, &result), 0, "one that is waited for is left alone");
  tap_int(result, 5, "its result");
  tap_ok(all_reaped(), "one that had ended before is reaped");
  struct mb_child *killed = shell("exec sleep 60");
  pid_t pid = mb_child_pid(killed);
  mb_child_abandon(killed);
  tap_int(kill(pid, 0), 0, "an abandoned child goes on");
  kill(pid, SIGKILL);
  tap_ok(all_reaped(), "until it ends");
}

/* Children that were to end with this process end earlier when nobody can wait for them any more. */
static void ends_abandoned(void) {
  const char *const argv[] = {"sleep", "60", NULL};
  struct mb_child_pipes pipes;
  struct mb_child *guarded, *other = shell("exec sleep 60");
  pid_t pid = mb_child_pid(other);
  mb_child_end_abandoned();
  int before = count_descriptors();
  if (mb_child_start(argv, true, &pipes, &guarded) < 0) tap_bail("a child with a guard");
  close_pipes(&pipes);
  mb_child_abandon(guarded);
  mb_child_abandon(other);
  mb_child_end_abandoned();
  tap_int(count_descriptors(), before, "nothing holds the guards of abandoned children");
  tap_int(kill(pid, 0), 0, "one without a guard goes on");
  kill(pid, SIGKILL);
  tap_ok(all_reaped(), "the others end, and their guards");
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  talk();
  cannot_start();
  ends();
  inherits_nothing();
  nobody_waits();
  ends_abandoned();
  return tap_done();
}
