/*
 * The peer of a program that is measured: peer socketpair|tcp|pipe SIZE echo|ANSWER PROGRAM ARG...
 * Starts the program with the connection on fd 0 (pipe: input on 0, output on 1), sends SIZE bytes
 * of 80-byte lines, and checks the answer: the same bytes, or the text ANSWER. Prints the seconds from
 * start to end, the program's CPU seconds, and its peak memory in KiB. The exit status is 1 when anything
 * was wrong.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINE   80
#define PERIOD (819 * LINE) /* the lines are numbered and repeat after just under 64 KiB */
#define CHECKED \
  64 /* bytes that are compared in each received piece: enough to find lost or doubled ones */
#define SECONDS_MAX 600 /* a program that hangs ends the run */

extern char **environ;

static char pattern[2 * PERIOD];

static void fail(const char *what) {
  fprintf(stderr, "peer: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
  exit(1);
}

static void make_pattern(void) {
  for (size_t at = 0; at < sizeof pattern; at += LINE) {
    char line[LINE + 1];
    snprintf(line, sizeof line, "%08zu %0*d\n", at % PERIOD / LINE, LINE - 10, 0);
    memcpy(pattern + at, line, LINE);
  }
}

/* ---- the connection: [0] ours, [1] the program's ---- */

static void make_tcp(int ends[2]) {
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof name;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listener, (struct sockaddr *)&name, len) != 0 || listen(listener, 1) != 0)
    fail("listen");
  getsockname(listener, (struct sockaddr *)&name, &len);
  if (connect(ends[0], (struct sockaddr *)&name, len) != 0) fail("connect");
  ends[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (ends[1] < 0) fail("accept");
  close(listener);
}

/* Our two ends are one descriptor, or belong to two pipes. */
struct connection {
  int to, from;
};

static pid_t start(const char *transport, char **argv, struct connection *ret) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  int in[2], out[2];
  if (strcmp(transport, "pipe") == 0) {
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) fail("pipe");
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    *ret = (struct connection){in[1], out[0]};
    in[1] = out[1];
  } else {
    if (strcmp(transport, "tcp") == 0) {
      make_tcp(in);
    } else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) != 0) {
      fail("socketpair");
    }
    posix_spawn_file_actions_adddup2(&actions, in[1], 0);
    *ret = (struct connection){in[0], in[0]};
    in[0] = -1;
  }
  pid_t pid;
  errno = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
  if (errno) fail(argv[0]);
  if (in[0] >= 0) close(in[0]);
  close(in[1]);
  return pid;
}

/* Ends our output. */
static void finish(const struct connection *c) {
  if (c->to != c->from) {
    close(c->to);
  } else {
    shutdown(c->to, SHUT_WR);
  }
}

/* ---- the jobs ---- */

/* Sends one piece of the pattern from a position in the stream. */
static ssize_t send_piece(int fd, unsigned long long at, unsigned long long size) {
  size_t len = size - at < PERIOD ? (size_t)(size - at) : PERIOD;
  return write(fd, pattern + at % PERIOD, len);
}

static void send_all(const struct connection *c, unsigned long long size) {
  for (unsigned long long sent = 0; sent < size;) {
    ssize_t n = send_piece(c->to, sent, size);
    if (n < 0) fail("send");
    sent += (unsigned long long)n;
  }
  finish(c);
}

static void expect_answer(const struct connection *c, const char *wanted) {
  char text[256] = "";
  size_t len = 0;
  ssize_t n;
  while (len < sizeof text - 1 && (n = read(c->from, text + len, sizeof text - 1 - len)) > 0)
    len += (size_t)n;
  errno = 0;
  size_t expected = strlen(wanted);
  if (len == expected + 1 && memcmp(text, wanted, expected) == 0 && text[expected] == '\n') return;
  fprintf(stderr, "peer: answer \"%s\", expected \"%s\"\n", text, wanted);
  exit(1);
}

/* Sends and receives in turn, as far as either goes without waiting. */
static void echo(const struct connection *c, unsigned long long size) {
  static char buffer[65536];
  unsigned long long sent = 0, received = 0;
  fcntl(c->to, F_SETFL, O_NONBLOCK);
  for (;;) {
    ssize_t out = -1;
    if (sent < size) {
      out = send_piece(c->to, sent, size);
      if (out < 0 && errno != EAGAIN) fail("send");
      if (out > 0) sent += (unsigned long long)out;
      if (sent == size) finish(c);
    }
    ssize_t in = read(c->from, buffer, sizeof buffer);
    if (in < 0 && errno != EAGAIN) fail("receive");
    if (in == 0) break;
    if (in > 0) {
      size_t checked = in < CHECKED ? (size_t)in : CHECKED;
      errno = 0;
      if (memcmp(buffer, pattern + received % PERIOD, checked) != 0) fail("wrong bytes came back");
      received += (unsigned long long)in;
    }
    struct pollfd p = {.fd = c->to, .events = (short)(sent < size ? POLLIN | POLLOUT : POLLIN)};
    if (in < 0 && out < 0 && poll(&p, 1, -1) < 0) fail("poll");
  }
  errno = 0;
  if (sent != size || received != size) fail("not as many bytes came back as were sent");
}

static double seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec / 1e6; }

int main(int argc, char **argv) {
  if (argc < 5) return 2;
  unsigned long long size = strtoull(argv[2], NULL, 10);
  signal(SIGPIPE, SIG_IGN);
  alarm(SECONDS_MAX);
  make_pattern();
  struct timespec begin, end;
  struct connection c;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  pid_t pid = start(argv[1], argv + 4, &c);
  if (strcmp(argv[3], "echo") == 0) {
    echo(&c, size);
  } else {
    send_all(&c, size);
    expect_answer(&c, argv[3]);
  }
  int status;
  struct rusage used;
  if (wait4(pid, &status, 0, &used) < 0) fail("wait4");
  clock_gettime(CLOCK_MONOTONIC, &end);
  errno = 0;
  if (status != 0) fail("the program did not end with status 0");
  printf("%.6f %.6f %ld\n",
         (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9,
         seconds(used.ru_utime) + seconds(used.ru_stime), used.ru_maxrss);
  return 0;
}
