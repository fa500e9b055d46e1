/* Functions for all helpers of the HTTP benchmarks: they make a TCP connection within one process, start
 * a program on a descriptor, and read the clock. Every failure ends the helper. */
#ifndef HTTPBENCH_H
#define HTTPBENCH_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECONDS_MAX 600 /* a program that hangs ends the run */

extern char **environ;

static inline void fail(const char *what) {
  fprintf(stderr, "%s: %s%s%s\n", program_invocation_short_name, what, errno ? ": " : "",
          errno ? strerror(errno) : "");
  exit(1);
}

/* Reports a wrong answer, which is no error of the system. */
static inline void wrong(const char *what) {
  errno = 0;
  fail(what);
}

static inline long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static inline struct sockaddr_in loopback(int port) {
  return (struct sockaddr_in){.sin_family = AF_INET,
                              .sin_port = htons((unsigned short)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static inline int listen_somewhere(void) {
  struct sockaddr_in name = loopback(0);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(fd, (struct sockaddr *)&name, sizeof name) != 0 || listen(fd, 1) != 0) fail("listen");
  return fd;
}

static inline int connect_to(const struct sockaddr_in *name) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, (const struct sockaddr *)name, sizeof *name) != 0) fail("connect");
  return fd;
}

/* Makes a connection through a listener: ends[0] is ours, ends[1] the program's. */
static inline void make_tcp(int listener, int ends[2]) {
  struct sockaddr_in name;
  socklen_t len = sizeof name;
  getsockname(listener, (struct sockaddr *)&name, &len);
  ends[0] = connect_to(&name);
  ends[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (ends[1] < 0) fail("accept");
}

/* Starts a program with one descriptor as fd 0, another as fd 1 (-1: our own), and closes both here. */
static inline pid_t start(char **argv, int in, int out) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in, 0);
  if (out >= 0) posix_spawn_file_actions_adddup2(&actions, out, 1);
  pid_t pid;
  errno = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
  if (errno) fail(argv[0]);
  posix_spawn_file_actions_destroy(&actions);
  close(in);
  if (out >= 0) close(out);
  return pid;
}

static inline void wait_for(pid_t pid) {
  int status;
  if (waitpid(pid, &status, 0) < 0) fail("waitpid");
  if (status != 0) wrong("the program did not end with status 0");
}

static inline void write_all(int fd, const char *data, size_t len) {
  while (len > 0) {
    ssize_t n = write(fd, data, len);
    if (n < 0) fail("write");
    data += n;
    len -= (size_t)n;
  }
}

#endif
