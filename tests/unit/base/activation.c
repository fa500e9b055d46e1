/*
 * src/base/activation.c: it reads LISTEN_* as sd_listen_fds_with_names(3) does, in the same environments,
 * and finds out the kind of a descriptor. A child process that has descriptors 3 and 4 open reads each
 * environment.
 */
#include "base/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "../../lib/tap.h"

/* Our own process id takes the place of a leading "$". With NULL the variable is not set. */
static const char *const pids[] = {NULL,
                                   "$",
                                   "1",
                                   "",
                                   "0",
                                   "-1",
                                   "x",
                                   "$x",
                                   " $",
                                   "$ ",
                                   "+$",
                                   "0x1",
                                   "99999999999999999999",
                                   "4294967296",
                                   "-$"};
static const char *const counts[] = {NULL,
                                     "1",
                                     "2",
                                     "0",
                                     "-1",
                                     "",
                                     "x",
                                     "1x",
                                     " 1",
                                     "1 ",
                                     "+1",
                                     "0x2",
                                     "02",
                                     "3",
                                     "1000",
                                     "2147483647",
                                     "2147483645",
                                     "99999999999",
                                     "-99999999999",
                                     "99999999999999999999"};
static const char *const names[] = {
    NULL, "connection", "a:b", "", ":", "::", "a:", "unknown", "a\\:b", "a\\", "a:\\b", "\"a:b\""};

static void set(const char *name, const char *value) {
  if (!value) {
    unsetenv(name);
    return;
  }
  char text[64];
  const char *dollar = strchr(value, '$');
  if (dollar) {
    snprintf(text, sizeof text, "%.*s%d%s", (int)(dollar - value), value, (int)getpid(),
             dollar + 1);
    value = text;
  }
  setenv(name, value, 1);
}

enum { NAMES = sizeof names / sizeof *names };

struct outcome {
  int result;
  bool unset;     /* the variables are gone */
  int cloexec[2]; /* of 3 and 4 */
};

/* Both results of the same environment. Close-on-exec matters only where they succeed. */
struct pair {
  struct outcome ours, theirs;
};

static struct outcome reading(bool ours, const char *pid, const char *count, const char *name) {
  struct outcome outcome = {0};
  dup2(STDERR_FILENO, 3);
  dup2(STDERR_FILENO, 4);
  set("LISTEN_PID", pid);
  set("LISTEN_FDS", count);
  set("LISTEN_FDNAMES", name);
  if (ours) {
    outcome.result = mb_activation_fds();
  } else {
    char **list = NULL;
    outcome.result = sd_listen_fds_with_names(1, &list);
    for (char **at = list; at && *at; at++) free(*at);
    free(list);
  }
  outcome.unset = !getenv("LISTEN_PID") && !getenv("LISTEN_FDS") && !getenv("LISTEN_FDNAMES");
  for (int i = 0; i < 2; i++) outcome.cloexec[i] = fcntl(3 + i, F_GETFD);
  return outcome;
}

/* Reads all lists of names with this process id and count. A child process of its own does it. */
static void in_child(const char *pid, const char *count, struct pair pairs[NAMES]) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) tap_bail("pipe");
  pid_t child = fork();
  if (child == 0) {
    int report = fcntl(fds[1], F_DUPFD_CLOEXEC, 10);
    close(5);
    for (int n = 0; n < NAMES; n++) {
      pairs[n].ours = reading(true, pid, count, names[n]);
      pairs[n].theirs = reading(false, pid, count, names[n]);
    }
    _exit(write(report, pairs, sizeof(struct pair[NAMES])) == sizeof(struct pair[NAMES]) ? 0 : 1);
  }
  close(fds[1]);
  if (read(fds[0], pairs, sizeof(struct pair[NAMES])) != sizeof(struct pair[NAMES])) {
    tap_bail("the child died");
  }
  close(fds[0]);
  waitpid(child, NULL, 0);
}

static bool same(const struct pair *p) {
  if (p->ours.result != p->theirs.result || !p->ours.unset) return false;
  return p->ours.result < 0 ||
         memcmp(p->ours.cloexec, p->theirs.cloexec, sizeof p->ours.cloexec) == 0;
}

static const char *shown(const char *value) { return value ? value : "(unset)"; }

static void differential(void) {
  int cases = 0, different = 0;
  unsigned step = tap_step(7);
  for (size_t p = 0; p < sizeof pids / sizeof *pids; p++) {
    for (size_t c = p % step; c < sizeof counts / sizeof *counts; c += step) {
      struct pair pairs[NAMES];
      in_child(pids[p], counts[c], pairs);
      for (int n = 0; n < NAMES; n++) {
        cases++;
        if (same(&pairs[n])) continue;
        different++;
        printf("# LISTEN_PID=%s LISTEN_FDS=%s LISTEN_FDNAMES=%s: ours %d, libsystemd %d\n",
               shown(pids[p]), shown(counts[c]), shown(names[n]), pairs[n].ours.result,
               pairs[n].theirs.result);
      }
    }
  }
  tap_int(different, 0, "%d environments are read as libsystemd reads them", cases);
}

static void expect(int fd, enum mb_given want, const char *what) {
  int saved = dup(STDIN_FILENO);
  dup2(fd, STDIN_FILENO);
  struct mb_activation found;
  int r = mb_activation_find(&found);
  dup2(saved, STDIN_FILENO);
  close(saved);
  tap_ok(r == 0 && found.given == want && found.fd == 0 && found.count == 0, "%s", what);
}

static void kinds(void) {
  int pair[2], pipes[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || pipe(pipes) != 0) tap_bail("socketpair");
  expect(pair[0], MB_GIVEN_CONNECTION, "a socket pair is a connection");
  expect(pipes[0], MB_GIVEN_FILE, "a pipe is a replay");
  int file = open("/dev/null", O_RDONLY);
  expect(file, MB_GIVEN_FILE, "a file is a replay");
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  if (listen(listener, 1) != 0) tap_bail("listen");
  expect(listener, MB_GIVEN_LISTENER, "a listening socket is told from a connection");
  int datagram = socket(AF_INET, SOCK_DGRAM, 0);
  expect(datagram, MB_GIVEN_DATAGRAM, "so is a datagram socket");
  int packets[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, packets) != 0) tap_bail("socketpair");
  expect(packets[0], MB_GIVEN_DATAGRAM, "and one of packets");
  struct mb_activation untouched = {.fd = 77};
  int saved = dup(STDIN_FILENO);
  close(STDIN_FILENO);
  tap_int(mb_activation_find(&untouched), -EBADF, "a closed fd 0 is an error");
  dup2(saved, STDIN_FILENO);
  tap_int(untouched.fd, 77, "that leaves the result untouched");
}

int main(void) {
  differential();
  kinds();
  return tap_done();
}
