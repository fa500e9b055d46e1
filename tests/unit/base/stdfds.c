/*
 * src/base/stdfds.c: what stands on descriptors 0, 1 and 2 afterwards. Each case runs in a child that has
 * the descriptors of the case, and reports what it finds to the parent.
 */
#include "base/stdfds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "../../lib/tap.h"

#define CONNECTION_FD 3
#define LISTEN_AT     3
#define REPORT_FD     20
#define FDS_MAX       50 /* the limit in the case in which all descriptors are in use */
#define SPARE_FD      30 /* copies of the descriptors of a case, before they are put on 0, 1 and 2 */

/* The things that a descriptor may be. */
enum thing { CLOSED, CONNECTION, FILE_1, FILE_2, NULL_DEVICE, SOMETHING_ELSE, THINGS };

static const char *const names[] = {"closed", "the connection", "file 1",
                                    "file 2", "/dev/null",      "something else"};

static struct stat things[THINGS];
static int fds[THINGS];
static int peer; /* the other end of the connection */

struct report {
  int prepared, taken;
  unsigned closed;
  struct mb_stdfds taken_fds;
  enum thing on[3];
  enum thing in, out;
  bool in_cloexec, out_cloexec, std_cloexec, same_1_2;
};

static void make_things(void) {
  int ends[2], pipe_1[2], pipe_2[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0 || pipe(pipe_1) != 0 || pipe(pipe_2) != 0)
    tap_bail("socketpair, pipe");
  peer = ends[1];
  fds[CONNECTION] = ends[0];
  fds[FILE_1] = pipe_1[1];
  fds[FILE_2] = pipe_2[1];
  fds[NULL_DEVICE] = open("/dev/null", O_RDWR);
  for (int thing = CONNECTION; thing <= NULL_DEVICE; thing++) {
    int high = fcntl(fds[thing], F_DUPFD_CLOEXEC, SPARE_FD);
    close(fds[thing]);
    fds[thing] = high;
    if (fstat(high, &things[thing]) != 0) tap_bail("fstat");
  }
}

static enum thing what_is(int fd) {
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0) return CLOSED;
  if (S_ISCHR(st.st_mode) && st.st_rdev == things[NULL_DEVICE].st_rdev) return NULL_DEVICE;
  for (int thing = CONNECTION; thing < NULL_DEVICE; thing++) {
    if (st.st_dev == things[thing].st_dev && st.st_ino == things[thing].st_ino)
      return (enum thing)thing;
  }
  return SOMETHING_ELSE;
}

static bool is_cloexec(int fd) {
  int flags = fcntl(fd, F_GETFD);
  return flags >= 0 && flags & FD_CLOEXEC;
}

static void put(enum thing thing, int target) {
  if (thing == CLOSED) {
    close(target);
  } else {
    dup2(fds[thing], target);
  }
}

static struct report look(const struct mb_activation *activation) {
  struct report r = {.taken_fds = {-7, -7}};
  r.prepared = mb_stdfds_prepare(&r.closed);
  if (activation) r.taken = mb_stdfds_take(activation, &r.taken_fds);
  struct stat one, two;
  for (int fd = 0; fd <= 2; fd++) {
    r.on[fd] = what_is(fd);
    if (is_cloexec(fd)) r.std_cloexec = true;
  }
  r.same_1_2 = fstat(1, &one) == 0 && fstat(2, &two) == 0 && one.st_dev == two.st_dev &&
               one.st_ino == two.st_ino;
  r.in = what_is(r.taken_fds.in);
  r.out = what_is(r.taken_fds.out);
  r.in_cloexec = is_cloexec(r.taken_fds.in);
  r.out_cloexec = is_cloexec(r.taken_fds.out);
  return r;
}

static void use_up_descriptors(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) _exit(1);
  limit.rlim_cur = FDS_MAX;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) _exit(1);
  while (dup(REPORT_FD) >= 0) continue;
}

/*
 * Calls mb_stdfds_prepare and, with an activation, mb_stdfds_take, in a child with these things on its
 * descriptors.
 * full  no descriptor is free
 */
static struct report child(enum thing on_0, enum thing on_1, enum thing on_2, enum thing on_3,
                           const struct mb_activation *activation, bool full) {
  struct report r = {0};
  int report[2];
  if (pipe(report) != 0) tap_bail("pipe");
  fflush(stdout);
  pid_t pid = fork();
  if (pid < 0) tap_bail("fork");
  if (pid == 0) {
    dup2(report[1], REPORT_FD);
    for (int fd = 3; fd < REPORT_FD; fd++) close(fd);
    put(on_0, 0);
    put(on_1, 1);
    put(on_2, 2);
    put(on_3, LISTEN_AT);
    if (full) use_up_descriptors();
    r = look(activation);
    _exit(write(REPORT_FD, &r, sizeof r) == sizeof r ? 0 : 1);
  }
  close(report[1]);
  if (read(report[0], &r, sizeof r) != sizeof r) tap_bail("no report from the child");
  close(report[0]);
  waitpid(pid, NULL, 0);
  return r;
}

static void is(enum thing got, enum thing want, const char *what) {
  tap_ok(got == want, "%s is %s%s%s", what, names[want], got == want ? "" : ", not ",
         got == want ? "" : names[got]);
}

static void prepare(void) {
  struct report r = child(FILE_1, FILE_1, FILE_2, CLOSED, NULL, false);
  tap_int(r.prepared, 0, "nothing to do");
  tap_int(r.closed, 0, "nothing was closed");
  tap_ok(r.on[0] == FILE_1 && r.on[1] == FILE_1 && r.on[2] == FILE_2, "all is left as it is");

  for (unsigned closed = 1; closed < 8; closed++) {
    r = child(closed & 1 ? CLOSED : FILE_1, closed & 2 ? CLOSED : FILE_1,
              closed & 4 ? CLOSED : FILE_2, CLOSED, NULL, false);
    tap_int(r.prepared, 0, "closed descriptors, pattern %u", closed);
    tap_int(r.closed, closed, "are told");
    is(r.on[0], closed & 1 ? NULL_DEVICE : FILE_1, "fd 0");
    is(r.on[1], closed & 2 ? NULL_DEVICE : FILE_1, "fd 1");
    tap_ok(closed & 4 ? r.on[2] == NULL_DEVICE || r.on[2] == SOMETHING_ELSE : r.on[2] == FILE_2,
           "fd 2 is %s", closed & 4 ? "a log or /dev/null" : "left as it is");
    tap_ok(!r.std_cloexec, "children inherit all three");
  }

  r = child(CONNECTION, CONNECTION, CONNECTION, CLOSED, NULL, false);
  tap_ok(r.on[2] == NULL_DEVICE || r.on[2] == SOMETHING_ELSE, "inetd: fd 2 is moved off");
  is(r.on[0], CONNECTION, "inetd: fd 0 stays for now: it");
  r = child(FILE_1, FILE_1, FILE_1, CLOSED, NULL, false);
  is(r.on[2], FILE_1, "one file on 0 and 2, as a terminal: fd 2");
}

static void take(void) {
  const struct mb_activation inetd = {.given = MB_GIVEN_CONNECTION, .fd = 0};
  const struct mb_activation systemd = {
      .given = MB_GIVEN_CONNECTION, .fd = CONNECTION_FD, .count = 1};
  const struct mb_activation replay = {.given = MB_GIVEN_FILE, .fd = 0};

  struct report r = child(CONNECTION, CONNECTION, CONNECTION, CLOSED, &inetd, false);
  tap_int(r.taken, 0, "inetd: taken");
  is(r.in, CONNECTION, "inetd: what was taken");
  tap_ok(r.taken_fds.in > 2 && r.taken_fds.in == r.taken_fds.out, "it is one, above 2");
  tap_ok(r.in_cloexec && !r.std_cloexec, "children do not inherit it, but 0, 1 and 2");
  is(r.on[0], NULL_DEVICE, "fd 0");
  tap_ok(r.on[1] != CONNECTION && r.same_1_2, "fd 1 is what fd 2 is");

  r = child(CONNECTION, CONNECTION, FILE_1, CLOSED, &inetd, false);
  tap_ok(r.on[0] == NULL_DEVICE && r.on[1] == FILE_1 && r.on[2] == FILE_1,
         "tcpserver: stderr stays, stdout becomes it");

  r = child(NULL_DEVICE, FILE_1, FILE_2, CONNECTION, &systemd, false);
  tap_int(r.taken, 0, "systemd: taken");
  tap_ok(r.taken_fds.in == CONNECTION_FD && r.taken_fds.out == CONNECTION_FD, "where it is");
  tap_ok(r.on[0] == NULL_DEVICE && r.on[1] == FILE_2 && r.on[2] == FILE_2,
         "systemd: stdout becomes stderr");
  r = child(CONNECTION, CONNECTION, CONNECTION, CONNECTION, &systemd, false);
  tap_int(r.taken, 0, "systemd, StandardInput=socket: taken");
  is(r.on[0], NULL_DEVICE, "fd 0");
  tap_ok(r.on[1] != CONNECTION && r.on[2] != CONNECTION, "the connection is on 3 alone");
  r = child(NULL_DEVICE, FILE_1, CONNECTION, CONNECTION, &systemd, false);
  tap_ok(r.taken == 0 && r.on[1] != CONNECTION && r.on[2] != CONNECTION,
         "systemd, the connection on fd 2 as well: it is moved off");

  r = child(FILE_1, FILE_2, NULL_DEVICE, CLOSED, &replay, false);
  tap_int(r.taken, 0, "replay: taken");
  is(r.in, FILE_1, "replay: the input");
  is(r.out, FILE_2, "replay: the output");
  tap_ok(r.in_cloexec && r.out_cloexec, "replay: children inherit neither");
  tap_ok(r.on[0] == NULL_DEVICE && r.on[1] == NULL_DEVICE && r.on[2] == NULL_DEVICE,
         "replay: nothing that is printed is in the output");

  r = child(FILE_1, FILE_2, NULL_DEVICE, CLOSED, &replay, true);
  tap_int(r.taken, -EMFILE, "no descriptor left");
  tap_ok(r.taken_fds.in == -7 && r.taken_fds.out == -7, "a failure leaves the result untouched");
}

/* Checks the form of a message with this $JOURNAL_STREAM. The peer of the connection receives it. */
static void message(const char *stream, const char *want, const char *what) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    unsigned closed;
    setenv("JOURNAL_STREAM", stream, 1);
    put(NULL_DEVICE, 0);
    put(NULL_DEVICE, 1);
    put(CONNECTION, 2);
    int r = mb_stdfds_prepare(&closed);
    mb_log(LOG_ERR, "said");
    _exit(r == 0 ? 0 : 1);
  }
  waitpid(pid, NULL, 0);
  char text[256] = "";
  if (recv(peer, text, sizeof text - 1, MSG_DONTWAIT) < 0) tap_bail("nothing was said");
  tap_str(text, want, "%s", what);
}

static void journal_stream(void) {
  const struct stat *st = &things[CONNECTION];
  unsigned long long device = st->st_dev, inode = st->st_ino;
  static const struct {
    unsigned device, inode;
    const char *extra, *want, *what;
  } cases[] = {
      {0, 0, "", "<3>said\n", "$JOURNAL_STREAM names stderr: a priority"},
      {1, 0, "", "mb-handle: said\n", "another device"},
      {0, 1, "", "mb-handle: said\n", "another inode"},
      {0, 0, "x", "mb-handle: said\n", "something behind it"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char stream[100];
    snprintf(stream, sizeof stream, "%llu:%llu%s", device + cases[i].device, inode + cases[i].inode,
             cases[i].extra);
    message(stream, cases[i].want, cases[i].what);
  }
  message("", "mb-handle: said\n", "an empty $JOURNAL_STREAM");
}

int main(void) {
  unsetenv("JOURNAL_STREAM");
  make_things();
  prepare();
  take();
  journal_stream();
  return tap_done();
}
