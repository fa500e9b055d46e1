/* Starts mb-handle and asks it about names. Loads nothing, and leaves signals and children of scripts alone. */
#include "static/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rare.h"
#include "sandbox/sandbox.h"

/* A client that makes a handler look names up again and again must not fill the log. */
#define LINES_MAX 16

int mb_shared_find(char ret_path[PATH_MAX]) {
  /* What the link says once the file was replaced, as an upgrade does. */
  static const char deleted[] = " (deleted)", suffix[] = "-static";
  ssize_t n = readlink("/proc/self/exe", ret_path, PATH_MAX - 1);
  if (n < 0) return -errno;
  size_t len = (size_t)n;
  ret_path[len] = '\0';
  size_t end = sizeof deleted - 1;
  if (len > end && strcmp(ret_path + len - end, deleted) == 0) len -= end;
  end = sizeof suffix - 1;
  if (len <= end || memcmp(ret_path + len - end, suffix, end) != 0) return -ENOENT;
  ret_path[len - end] = '\0';
  return 0;
}

/* ---- the process ---- */

/*
 * Gives all signals their default action, also the two that the C library hides from sigaction: see base/child.c. That
 * comes before any of them is let in: our handlers would run in the memory that is ours.
 */
static void reset_signals(void) {
  static const struct sigaction standard; /* all zero, which the kernel's own structure is too */
  for (int number = 1; number < NSIG; number++) {
    if (sigaction(number, &standard, NULL) != 0)
      syscall(SYS_rt_sigaction, number, &standard, NULL, NSIG / 8);
  }
}

/* Moves the socket to 0 and 1, and puts /dev/null on 2; no other descriptor is left. Returns 0 or -errno. */
static int set_descriptors(int fd) {
  /* A socket that stands on 1 or 2 by itself would be closed, or stay. */
  int copy = fcntl(fd, F_DUPFD, STDERR_FILENO + 1);
  if (copy < 0 || dup2(copy, STDIN_FILENO) < 0 || dup2(copy, STDOUT_FILENO) < 0) return -errno;
  int null = open("/dev/null", O_RDWR);
  if (null < 0 || dup2(null, STDERR_FILENO) < 0) close(STDERR_FILENO);
  closefrom(STDERR_FILENO + 1);
  return 0;
}

/*
 * Runs in the child: becomes mb-handle, or says why it cannot. It shares the parent's memory, and must not change what
 * the parent uses; `failure` is the child's, and was made before.
 */
static void __attribute__((noreturn))
run(const char *path, int fd, struct mb_names_record *failure, size_t error_at) {
  static const char *const arguments[] = {MB_NAMES_ARGV0, NULL};
  reset_signals();
  int r = set_descriptors(fd);
  if (r == 0) {
    fd = STDIN_FILENO;
    syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0UL, 0UL, 0UL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* The call itself: gcov has an execve of its own, which would end the counts of the parent. */
    syscall(SYS_execve, path, arguments, environ);
    r = -errno;
  }
  int error = -r;
  memcpy(failure->data + error_at, &error, sizeof error);
  mb_names_send(failure, fd);
  _exit(127);
}

/* Starts the process. Returns its number, or -errno. */
static int start(const char *path, int fd) {
  struct mb_names_record failure = {0};
  mb_names_begin(&failure, MB_NAMES_NO_START);
  size_t error_at = failure.at;
  mb_names_put_number(&failure, 0);
  if (failure.has_failed) {
    mb_names_free(&failure);
    return -ENOMEM;
  }
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  pid_t pid = vfork();
  if (pid == 0) run(path, fd, &failure, error_at);
  int r = pid < 0 ? -errno : pid;
  sigprocmask(SIG_SETMASK, &before, NULL);
  mb_names_free(&failure);
  return r;
}

/* ---- the question ---- */

/* Returns whether this process lacks something that mb-handle would lack as well, and that the caller may get. */
static bool is_shortage(int failure) {
  return failure == -EMFILE || failure == -ENFILE || failure == -ENOMEM || failure == -ENOBUFS;
}

/* Logs why there is no answer. failure: -errno. */
static void complain(const char *about, const char *path, bool has_started, int failure) {
  static int lines;
  if ((!has_started && is_shortage(failure)) || lines++ >= LINES_MAX) return;
  bool is_refused = failure == -EPERM || failure == -EACCES;
  const char *reason = is_refused && mb_sandbox_is_locked() ? "the sandbox does not allow it"
                       : failure == -EPROTONOSUPPORT
                           ? "it is of another version: start the service again"
                           : strerror(-failure);
  mb_log(LOG_ERR,
         "cannot look up %s: mb-handle-static asks %s about names, which %s: %s; start the service "
         "by mb-handle, which looks names up itself",
         about, path, has_started ? "gave no answer" : "cannot start", reason);
}

/*
 * Sends, receives, and reaps the process. Nothing here can wait for long but the answer itself.
 * ret_started  whether mb-handle was executed
 */
static int exchange(const char *path, struct mb_names_record *request,
                    struct mb_names_record *ret_answer, bool *ret_started) {
  int ends[2];
  *ret_started = false;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return -errno;
  /* The request fits into the socket's buffer, so that it waits there for a process, and none gets SIGPIPE. */
  int r = mb_names_send(request, ends[0]);
  int pid = r < 0 ? r : start(path, ends[1]);
  close(ends[1]);
  if (pid < 0) {
    close(ends[0]);
    return pid;
  }
  r = mb_names_receive(ends[0], ret_answer);
  close(ends[0]);
  if (r == 0 && mb_names_kind(ret_answer) == MB_NAMES_NO_START) {
    r = -mb_names_get_number(ret_answer);
    if (r >= 0) r = -EPROTO;
  } else {
    *ret_started = true;
    bool has_ended = r == -ECONNRESET; /* before it has read the request */
    if (has_ended || (r == 0 && mb_names_kind(ret_answer) != MB_NAMES_ANSWER)) r = -EPROTO;
  }
  if (r < 0) kill(pid, SIGKILL); /* its answer is of no use, and it may take long */
  while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
  return r;
}

int mb_shared_ask(struct mb_names_record *request, const char *about,
                  struct mb_names_record *ret_answer) {
  char path[PATH_MAX];
  bool has_started = false;
  *ret_answer = (struct mb_names_record){0};
  int r = mb_shared_find(path);
  if (r < 0) strcpy(path, "mb-handle");
  if (r == 0) r = exchange(path, request, ret_answer, &has_started);
  mb_names_free(request);
  if (r == 0) return 0;
  mb_names_free(ret_answer);
  complain(about, path, has_started, r);
  errno = -r;
  return r;
}
