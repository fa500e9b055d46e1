/*
 * src/fdio.c: reading, writing, ending and resetting, on TCP, Unix sockets and pipes; signals that
 * interrupt.
 */
#include "../../src/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "../lib/tap.h"

static void tcp_pair(int pair[2]) {
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof name;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, (struct sockaddr *)&name, len) != 0 || listen(listener, 1) != 0)
    tap_bail("listen");
  getsockname(listener, (struct sockaddr *)&name, &len);
  pair[1] = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(pair[1], (struct sockaddr *)&name, len) != 0) tap_bail("connect");
  pair[0] = accept(listener, NULL, NULL);
  close(listener);
}

static void unix_pair(int pair[2]) {
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) tap_bail("socketpair");
}

static void close_pair(const int pair[2]) {
  close(pair[0]);
  close(pair[1]);
}

static void exchange(const char *name, void (*make)(int[2]), enum mb_fd_kind kind) {
  int pair[2];
  char data[16];
  make(pair);
  tap_int(mb_fd_kind_of(pair[0]), kind, "%s: what it is", name);
  int flags = fcntl(pair[0], F_GETFL);
  tap_int(mb_fd_read(pair[0], kind, data, sizeof data, false), -EAGAIN, "%s: nothing to read",
          name);
  struct iovec pieces[] = {{"ab", 2}, {"", 0}, {"cd", 2}};
  tap_int(mb_fd_writev(pair[0], kind, pieces, 3, true), 4, "%s: pieces are written", name);
  tap_int(mb_fd_read(pair[1], kind, data, sizeof data, true), 4, "%s: and read", name);
  tap_bytes(data, 4, "abcd", 4, "%s: in order", name);
  /* A peer that does not read. */
  static char block[65536];
  struct iovec large = {block, sizeof block};
  ssize_t n;
  while ((n = mb_fd_writev(pair[0], kind, &large, 1, false)) > 0) continue;
  tap_int(n, -EAGAIN, "%s: a full connection does not block", name);
  tap_int(fcntl(pair[0], F_GETFL), flags, "%s: the flags of the descriptor are as they were", name);
  close(pair[1]);
  mb_fd_read(pair[0], kind, data, sizeof data, false);
  do {
    n = mb_fd_writev(pair[0], kind, &large, 1, true);
  } while (n > 0);
  tap_ok(n == -EPIPE || n == -ECONNRESET, "%s: a peer that has gone is an error, not a signal",
         name);
  close(pair[0]);
}

/* Ends are seen though a copy of the descriptor is open, as the systemd manager's is. */
static void ends(const char *name, void (*make)(int[2]), enum mb_fd_kind kind) {
  int pair[2];
  char data[16];
  make(pair);
  if (write(pair[1], "unread", 6) != 6) tap_bail("write");
  if (write(pair[0], "last", 4) != 4) tap_bail("write");
  int copy = dup(pair[0]);
  tap_int(mb_fd_end(pair[0], kind, false), 0, "%s: a healthy end", name);
  close(pair[0]);
  tap_int(read(pair[1], data, sizeof data), 4, "%s: the last bytes arrive", name);
  tap_int(read(pair[1], data, sizeof data), 0, "%s: then the end", name);
  close(copy);
  close(pair[1]);

  make(pair);
  copy = dup(pair[0]);
  tap_int(mb_fd_end_output(pair[0], kind), 0, "%s: the end of output", name);
  tap_int(read(pair[1], data, sizeof data), 0, "%s: is seen", name);
  if (write(pair[1], "more", 4) != 4) tap_bail("write");
  tap_int(mb_fd_read(pair[0], kind, data, sizeof data, true), 4, "%s: input goes on", name);
  tap_int(mb_fd_end(pair[0], kind, true), 0, "%s: then a healthy end", name);
  close(copy);
  close_pair(pair);

  make(pair);
  copy = dup(pair[0]);
  mb_fd_reset(pair[0], kind);
  ssize_t n = recv(pair[1], data, sizeof data, MSG_DONTWAIT);
  if (kind == MB_FD_TCP) {
    tap_ok(n < 0 && errno == ECONNRESET, "%s: a reset is seen at once", name);
  } else {
    tap_int(n, 0, "%s: a reset is an end that is seen at once", name);
  }
  close(copy);
  close_pair(pair);
}

static void reset_on_close(void) {
  int pair[2];
  char data[16];
  tcp_pair(pair);
  tap_int(mb_fd_set_reset_on_close(pair[0], MB_FD_TCP, true), 0, "reset on close is set");
  close(pair[0]);
  tap_ok(recv(pair[1], data, sizeof data, 0) < 0 && errno == ECONNRESET, "closing resets");
  close(pair[1]);
  tcp_pair(pair);
  mb_fd_set_reset_on_close(pair[0], MB_FD_TCP, true);
  tap_int(mb_fd_end(pair[0], MB_FD_TCP, false), 0, "a healthy end takes it back");
  close(pair[0]);
  tap_int(recv(pair[1], data, sizeof data, 0), 0, "closing ends");
  close(pair[1]);
  tcp_pair(pair);
  mb_fd_set_reset_on_close(pair[1], MB_FD_TCP, true);
  close(pair[1]);
  struct pollfd wait = {.fd = pair[0], .events = POLLIN};
  poll(&wait, 1, 1000);
  tap_int(mb_fd_end_output(pair[0], MB_FD_TCP), -ECONNRESET,
          "ending what the peer has reset says so");
  close(pair[0]);
}

static void files(void) {
  int pipes[2];
  char data[16];
  if (pipe(pipes) != 0) tap_bail("pipe");
  tap_int(mb_fd_kind_of(pipes[0]), MB_FD_FILE, "a pipe is a file");
  tap_int(mb_fd_read(pipes[0], MB_FD_FILE, data, sizeof data, false), -EAGAIN, "nothing to read");
  struct iovec piece = {"x", 1};
  tap_int(mb_fd_writev(pipes[1], MB_FD_FILE, &piece, 1, false), 1, "it is written to");
  tap_int(mb_fd_read(pipes[0], MB_FD_FILE, data, sizeof data, false), 1, "and read");
  static char block[1 << 20];
  struct iovec large = {block, sizeof block};
  ssize_t n, total = 0;
  while ((n = mb_fd_writev(pipes[1], MB_FD_FILE, &large, 1, false)) > 0) total += n;
  tap_int(n, -EAGAIN, "a full pipe does not block");
  tap_ok(total >= 4096, "after it took what it holds");
  tap_int(mb_fd_end(pipes[1], MB_FD_FILE, false), 0, "there is nothing to end");
  close(pipes[0]);
  tap_int(mb_fd_writev(pipes[1], MB_FD_FILE, &piece, 1, true), -EPIPE, "a closed pipe is an error");
  close(pipes[1]);
  tap_int(mb_fd_read(pipes[1], MB_FD_FILE, data, 1, true), -EBADF, "so is a closed descriptor");
  tap_int(mb_fd_read(pipes[1], MB_FD_FILE, data, 1, false), -EBADF, "without waiting too");
}

static volatile sig_atomic_t ticks;

static void tick(int signal_number) {
  (void)signal_number;
  ticks = ticks + 1;
}

/* Every call is interrupted again and again; nothing is lost, and a deadline holds. */
static void interrupted(void) {
  struct sigaction action = {.sa_handler = tick};
  sigaction(SIGALRM, &action, NULL);
  struct itimerval storm = {.it_interval.tv_usec = 500, .it_value.tv_usec = 500};
  setitimer(ITIMER_REAL, &storm, NULL);
  int pair[2];
  unix_pair(pair);
  int64_t start = mb_now_usec();
  tap_int(mb_fd_poll(pair[0], POLLIN, start + 100000), 0,
          "a deadline is reached through interrupts");
  int64_t took = mb_now_usec() - start;
  /* As many tests for each processor as $MB_LOAD says share it: the upper bound grows with them. */
  const char *load = getenv("MB_LOAD");
  double limit = 1e6 * (load && atof(load) > 1 ? atof(load) : 1);
  tap_ok(took >= 100000 && (double)took < limit, "in its time: %lld us", (long long)took);
  tap_ok(ticks > 10, "there were interrupts");
  static char block[300000], got[300000];
  memset(block, 'x', sizeof block);
  pid_t child = fork();
  if (child == 0) {
    setitimer(ITIMER_REAL, &storm, NULL);
    size_t sent = 0;
    while (sent < sizeof block) {
      struct iovec piece = {block + sent, sizeof block - sent};
      ssize_t n = mb_fd_writev(pair[1], MB_FD_LOCAL, &piece, 1, true);
      if (n < 0) _exit(1);
      sent += (size_t)n;
    }
    _exit(0);
  }
  size_t received = 0;
  while (received < sizeof got) {
    ssize_t n = mb_fd_read(pair[0], MB_FD_LOCAL, got + received, 1000, true);
    if (n <= 0) break;
    received += (size_t)n;
  }
  storm = (struct itimerval){0};
  setitimer(ITIMER_REAL, &storm, NULL);
  tap_bytes(got, received, block, sizeof block, "nothing is lost or doubled");
  /* A descriptor that was made non-blocking by somebody else. */
  fcntl(pair[0], F_SETFL, O_NONBLOCK);
  char c;
  child = fork();
  if (child == 0) {
    struct pollfd none = {.fd = -1};
    poll(&none, 1, 50); /* let the reader get there first; either order must work */
    if (write(pair[1], "y", 1) != 1) _exit(1);
    _exit(0);
  }
  tap_int(mb_fd_read(pair[0], MB_FD_LOCAL, &c, 1, true), 1,
          "a read waits on a non-blocking descriptor");
  close_pair(pair);
}

int main(void) {
  struct sigaction quiet = {.sa_handler = SIG_IGN};
  sigaction(SIGPIPE, &quiet, NULL);
  exchange("TCP", tcp_pair, MB_FD_TCP);
  exchange("Unix", unix_pair, MB_FD_LOCAL);
  ends("TCP", tcp_pair, MB_FD_TCP);
  ends("Unix", unix_pair, MB_FD_LOCAL);
  reset_on_close();
  files();
  interrupted();
  return tap_done();
}
