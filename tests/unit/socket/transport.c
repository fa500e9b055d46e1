/*
 * src/socket/channel.c and the transports: they read, write, end and reset, on TCP, Unix sockets and pipes,
 * also when signals interrupt.
 */
#include "socket/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/peers.h"
#include "../../lib/tap.h"

/* ---- the transport's functions, on a descriptor ---- */

static ssize_t read_fd(int fd, enum mb_fd_kind kind, void *data, size_t len, bool wait) {
  struct mb_channel c = mb_channel_of(fd, fd, kind);
  return c.transport->read(&c, data, len, wait);
}

static ssize_t write_fd(int fd, enum mb_fd_kind kind, const struct iovec *pieces, int count,
                        bool wait) {
  struct mb_channel c = mb_channel_of(fd, fd, kind);
  return c.transport->writev(&c, pieces, count, wait);
}

static int end_fd(int fd, enum mb_fd_kind kind, bool output_ended) {
  struct mb_channel c = mb_channel_of(fd, fd, kind);
  return c.transport->end(&c, output_ended);
}

static int end_output_fd(int fd, enum mb_fd_kind kind) {
  struct mb_channel c = mb_channel_of(fd, fd, kind);
  return c.transport->end_output(&c);
}

static void reset_fd(int fd, enum mb_fd_kind kind) {
  struct mb_channel c = mb_channel_of(fd, fd, kind);
  c.transport->reset(&c);
}

/* ---- on pairs ---- */

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
  tap_int(read_fd(pair[0], kind, data, sizeof data, false), -EAGAIN, "%s: nothing to read", name);
  struct iovec pieces[] = {{"ab", 2}, {"", 0}, {"cd", 2}};
  tap_int(write_fd(pair[0], kind, pieces, 3, true), 4, "%s: pieces are written", name);
  tap_int(read_fd(pair[1], kind, data, sizeof data, true), 4, "%s: and read", name);
  tap_bytes(data, 4, "abcd", 4, "%s: in order", name);
  struct mb_channel c = mb_channel_of(pair[0], pair[0], kind);
  tap_int(c.transport->unsent(&c), 0, "%s: the peer has taken everything", name);
  /* The peer does not read. */
  static char block[65536];
  struct iovec large = {block, sizeof block};
  ssize_t n;
  while ((n = write_fd(pair[0], kind, &large, 1, false)) > 0) continue;
  tap_int(n, -EAGAIN, "%s: a full connection does not block", name);
  tap_int(fcntl(pair[0], F_GETFL), flags, "%s: the flags of the descriptor are as they were", name);
  close(pair[1]);
  read_fd(pair[0], kind, data, sizeof data, false);
  do {
    n = write_fd(pair[0], kind, &large, 1, true);
  } while (n > 0);
  tap_ok(n == -EPIPE || n == -ECONNRESET, "%s: a peer that has gone is an error, not a signal",
         name);
  close(pair[0]);
}

/* The peer sees the end although a copy of the descriptor is open, as the systemd manager has one. */
static void ends(const char *name, void (*make)(int[2]), enum mb_fd_kind kind) {
  int pair[2];
  char data[16];
  make(pair);
  if (write(pair[1], "unread", 6) != 6) tap_bail("write");
  if (write(pair[0], "last", 4) != 4) tap_bail("write");
  int copy = dup(pair[0]);
  tap_int(end_fd(pair[0], kind, false), 0, "%s: a healthy end", name);
  close(pair[0]);
  tap_int(read(pair[1], data, sizeof data), 4, "%s: the last bytes arrive", name);
  tap_int(read(pair[1], data, sizeof data), 0, "%s: then the end", name);
  close(copy);
  close(pair[1]);

  make(pair);
  copy = dup(pair[0]);
  tap_int(end_output_fd(pair[0], kind), 0, "%s: the end of output", name);
  tap_int(read(pair[1], data, sizeof data), 0, "%s: is seen", name);
  if (write(pair[1], "more", 4) != 4) tap_bail("write");
  tap_int(read_fd(pair[0], kind, data, sizeof data, true), 4, "%s: input goes on", name);
  tap_int(end_fd(pair[0], kind, true), 0, "%s: then a healthy end", name);
  close(copy);
  close_pair(pair);

  make(pair);
  copy = dup(pair[0]);
  reset_fd(pair[0], kind);
  ssize_t n = recv(pair[1], data, sizeof data, MSG_DONTWAIT);
  if (kind == MB_FD_TCP) {
    tap_ok(n < 0 && errno == ECONNRESET, "%s: a reset is seen at once", name);
  } else {
    tap_int(n, 0, "%s: a reset is an end that is seen at once", name);
  }
  close(copy);
  close_pair(pair);
}

/* The last byte stays in the system, and makes a reset of the close. */
static void keeps_last(void) {
  int pair[2], there = -1;
  char data[16];
  peers_unix(pair);
  struct mb_channel c = mb_channel_of(pair[0], pair[0], MB_FD_LOCAL);
  c.keeps_last = true;
  tap_int(c.transport->read(&c, data, sizeof data, false), -EAGAIN, "kept: nothing to read");
  if (write(pair[1], "abc", 3) != 3) tap_bail("write");
  tap_int(c.transport->read(&c, data, 2, false), 2, "kept: more is there than is asked for");
  tap_ok(!c.held, "kept: no byte, as one is unread");
  tap_int(c.transport->read(&c, data, sizeof data, true), 1, "kept: the last byte is read");
  tap_bytes(data, 1, "c", 1, "kept: it");
  ioctl(pair[0], FIONREAD, &there);
  tap_int(there, 1, "kept: and is still there");
  tap_int(c.transport->read(&c, data, sizeof data, false), -EAGAIN, "kept: it is read once");
  if (write(pair[1], "def", 3) != 3) tap_bail("write");
  tap_int(c.transport->read(&c, data, sizeof data, false), 3,
          "kept: the next ones come without it");
  tap_bytes(data, 3, "def", 3, "kept: them");
  int copy = dup(pair[0]);
  if (write(pair[0], "part", 4) != 4) tap_bail("write");
  c.transport->reset(&c);
  close(pair[0]);
  tap_int(recv(pair[1], data, sizeof data, MSG_DONTWAIT), 4, "kept: what was sent arrives");
  tap_ok(recv(pair[1], data, sizeof data, MSG_DONTWAIT) < 0 && errno == EAGAIN,
         "kept: no end is seen while there is a copy");
  tap_ok(send(pair[1], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "kept: nothing is taken");
  close(copy);
  tap_ok(recv(pair[1], data, sizeof data, MSG_DONTWAIT) < 0 && errno == ECONNRESET,
         "kept: then a reset is seen");
  close(pair[1]);

  peers_unix(pair);
  c = mb_channel_of(pair[0], pair[0], MB_FD_LOCAL);
  c.keeps_last = true;
  if (write(pair[1], "abc", 3) != 3) tap_bail("write");
  tap_int(c.transport->read(&c, data, sizeof data, true), 3, "kept: all is read");
  shutdown(pair[1], SHUT_WR);
  tap_int(c.transport->read(&c, data, sizeof data, false), 0, "kept: the peer's end is seen");
  tap_ok(c.held, "kept: also then");
  tap_int(mb_channel_edge(&c), -1, "kept: and needs no wait");
  if (write(pair[0], "all", 3) != 3) tap_bail("write");
  tap_int(c.transport->end(&c, false), 0, "kept: a healthy end");
  close(pair[0]);
  tap_int(read(pair[1], data, sizeof data), 3, "kept: is one");
  tap_int(read(pair[1], data, sizeof data), 0, "kept: for the peer");
  close(pair[1]);

  peers_unix(pair);
  c = mb_channel_of(pair[0], pair[0], MB_FD_LOCAL);
  c.keeps_last = true;
  if (write(pair[1], "a", 1) != 1) tap_bail("write");
  tap_int(c.transport->read(&c, data, sizeof data, true), 1, "kept: one byte");
  struct pollfd edge = {.fd = mb_channel_edge(&c), .events = POLLIN};
  tap_int(poll(&edge, 1, 0), 0, "kept: a wait is not over by it");
  if (write(pair[1], "b", 1) != 1) tap_bail("write");
  tap_int(poll(&edge, 1, 1000), 1, "kept: but by the next one");
  tap_int(mb_channel_edge(&c), -1, "kept: which is there, then");
  tap_int(mb_channel_edge(&c), -1, "kept: for whoever asks again");
  tap_int(c.transport->read(&c, data, sizeof data, true), 1, "kept: it is read");
  tap_bytes(data, 1, "b", 1, "kept: the next one");
  edge.fd = mb_channel_edge(&c);
  tap_int(poll(&edge, 1, 0), 0, "kept: and then there is nothing");
  shutdown(pair[1], SHUT_WR);
  tap_int(poll(&edge, 1, 1000), 1, "kept: but for the peer's end");
  mb_channel_close_edge(&c);
  tap_int(c.transport->end(&c, false), 0, "kept: a healthy end drops it");
  close(pair[0]);
  tap_int(read(pair[1], data, sizeof data), 0, "kept: and is no reset");
  close(pair[1]);
}

static void reset_on_close(void) {
  int pair[2];
  char data[16];
  peers_tcp(pair);
  tap_int(mb_fd_set_reset_on_close(pair[0], MB_FD_TCP, true), 0, "reset on close is set");
  close(pair[0]);
  tap_ok(recv(pair[1], data, sizeof data, 0) < 0 && errno == ECONNRESET, "closing resets");
  close(pair[1]);
  peers_tcp(pair);
  mb_fd_set_reset_on_close(pair[0], MB_FD_TCP, true);
  tap_int(end_fd(pair[0], MB_FD_TCP, false), 0, "a healthy end takes it back");
  close(pair[0]);
  tap_int(recv(pair[1], data, sizeof data, 0), 0, "closing ends");
  close(pair[1]);
  peers_tcp(pair);
  mb_fd_set_reset_on_close(pair[1], MB_FD_TCP, true);
  close(pair[1]);
  struct pollfd wait = {.fd = pair[0], .events = POLLIN};
  poll(&wait, 1, 1000);
  tap_int(end_output_fd(pair[0], MB_FD_TCP), -ECONNRESET, "ending what the peer has reset says so");
  close(pair[0]);
}

static void files(void) {
  int pipes[2];
  char data[16];
  if (pipe(pipes) != 0) tap_bail("pipe");
  tap_int(mb_fd_kind_of(pipes[0]), MB_FD_FILE, "a pipe is a file");
  tap_int(read_fd(pipes[0], MB_FD_FILE, data, sizeof data, false), -EAGAIN, "nothing to read");
  struct iovec piece = {"x", 1};
  tap_int(write_fd(pipes[1], MB_FD_FILE, &piece, 1, false), 1, "it is written to");
  tap_int(read_fd(pipes[0], MB_FD_FILE, data, sizeof data, false), 1, "and read");
  static char block[1 << 20];
  struct iovec large = {block, sizeof block};
  ssize_t n, total = 0;
  while ((n = write_fd(pipes[1], MB_FD_FILE, &large, 1, false)) > 0) total += n;
  tap_int(n, -EAGAIN, "a full pipe does not block");
  struct mb_channel c = mb_channel_of(pipes[0], pipes[1], MB_FD_FILE);
  tap_int(c.transport->sendfile(&c, pipes[0], 0, 1), -EINVAL, "a file is copied to it, not sent");
  tap_int(c.transport->unsent(&c), -ENOTSOCK, "nobody knows what a pipe still holds");
  tap_ok(total >= 4096, "after it took what it holds");
  tap_int(end_fd(pipes[1], MB_FD_FILE, false), 0, "there is nothing to end");
  close(pipes[0]);
  tap_int(write_fd(pipes[1], MB_FD_FILE, &piece, 1, true), -EPIPE, "a closed pipe is an error");
  close(pipes[1]);
  tap_int(read_fd(pipes[1], MB_FD_FILE, data, 1, true), -EBADF, "so is a closed descriptor");
  tap_int(read_fd(pipes[1], MB_FD_FILE, data, 1, false), -EBADF, "without waiting too");
}

static volatile sig_atomic_t ticks;

static void tick(int signal_number) {
  (void)signal_number;
  ticks = ticks + 1;
}

/* Signals interrupt every call again and again, and nothing is lost. */
static void interrupted(void) {
  struct sigaction action = {.sa_handler = tick};
  sigaction(SIGALRM, &action, NULL);
  struct itimerval storm = {.it_interval.tv_usec = 500, .it_value.tv_usec = 500};
  setitimer(ITIMER_REAL, &storm, NULL);
  int pair[2];
  peers_unix(pair);
  static char block[300000], got[300000];
  memset(block, 'x', sizeof block);
  pid_t child = fork();
  if (child == 0) {
    setitimer(ITIMER_REAL, &storm, NULL);
    mb_fd_poll_all(NULL, 0, mb_now_usec() + 50000); /* the reader waits meanwhile */
    size_t sent = 0;
    while (sent < sizeof block) {
      struct iovec piece = {block + sent, sizeof block - sent};
      ssize_t n = write_fd(pair[1], MB_FD_LOCAL, &piece, 1, true);
      if (n < 0) _exit(1);
      sent += (size_t)n;
    }
    _exit(0);
  }
  size_t received = 0;
  while (received < sizeof got) {
    ssize_t n = read_fd(pair[0], MB_FD_LOCAL, got + received, 1000, true);
    if (n <= 0) break;
    received += (size_t)n;
  }
  storm = (struct itimerval){0};
  setitimer(ITIMER_REAL, &storm, NULL);
  tap_bytes(got, received, block, sizeof block, "nothing is lost or doubled");
  tap_ok(ticks > 10, "there were interrupts");
  /* Somebody else has made the descriptor non-blocking. */
  fcntl(pair[0], F_SETFL, O_NONBLOCK);
  char c;
  child = fork();
  if (child == 0) {
    struct pollfd none = {.fd = -1};
    poll(&none, 1, 50); /* let the reader get there first; either order must work */
    if (write(pair[1], "y", 1) != 1) _exit(1);
    _exit(0);
  }
  tap_int(read_fd(pair[0], MB_FD_LOCAL, &c, 1, true), 1,
          "a read waits on a non-blocking descriptor");
  close_pair(pair);
}

/* A closed channel fails in each of its functions, and touches no descriptor. */
/* ---- a limit for one read ---- */

enum { LIMIT_USEC = 100000, WRITE_AFTER_USEC = 300000 };

/* A child writes a byte after a while. Returns its process id. */
static pid_t write_later(int fd) {
  pid_t pid = fork();
  if (pid != 0) return pid;
  usleep(WRITE_AFTER_USEC);
  _exit(write(fd, "y", 1) != 1);
}

static void limited(const char *name, void (*make)(int[2]), enum mb_fd_kind kind) {
  int pair[2];
  char data[4];
  make(pair);
  struct mb_channel c = mb_channel_of(pair[0], pair[0], kind);
  ssize_t (*within)(struct mb_channel *, void *, size_t, int64_t) = c.transport->read_within;

  int64_t begin = mb_now_usec();
  tap_int(within(&c, data, sizeof data, LIMIT_USEC), -EAGAIN, "%s: nothing comes", name);
  tap_ok(mb_now_usec() - begin >= LIMIT_USEC * 9 / 10, "%s: it waits until the limit", name);
  tap_ok(write(pair[1], "x", 1) == 1, "%s: a byte", name);
  tap_int(within(&c, data, sizeof data, LIMIT_USEC), 1, "%s: it is read", name);

  pid_t pid = write_later(pair[1]);
  begin = mb_now_usec();
  tap_int(c.transport->read(&c, data, sizeof data, true), 1, "%s: a read without a limit", name);
  tap_ok(mb_now_usec() - begin > LIMIT_USEC, "%s: waits longer than that", name);
  tap_int(waitpid(pid, NULL, 0), pid, "%s: the peer", name);

  begin = mb_now_usec();
  fcntl(pair[0], F_SETFL, O_NONBLOCK);
  tap_int(within(&c, data, sizeof data, LIMIT_USEC), -EAGAIN, "%s: O_NONBLOCK", name);
  fcntl(pair[0], F_SETFL, 0);
  c.keeps_last = true;
  tap_int(within(&c, data, sizeof data, LIMIT_USEC), -EAGAIN, "%s: a channel that keeps a byte",
          name);
  c.keeps_last = false;

  struct itimerval storm = {.it_interval.tv_usec = 10000, .it_value.tv_usec = 10000};
  struct sigaction action = {.sa_handler = tick};
  sigaction(SIGALRM, &action, NULL);
  setitimer(ITIMER_REAL, &storm, NULL);
  tap_int(within(&c, data, sizeof data, INT64_C(3600) * 1000000), -EAGAIN, "%s: a signal", name);
  storm = (struct itimerval){0};
  setitimer(ITIMER_REAL, &storm, NULL);
  tap_int(c.read_limit, INT64_C(3600) * 1000000, "%s: another limit", name);

  shutdown(pair[1], SHUT_WR);
  tap_int(within(&c, data, sizeof data, LIMIT_USEC), 0, "%s: the end", name);
  close_pair(pair);
}

static void closed_channel(void) {
  struct mb_channel c = MB_CHANNEL_CLOSED;
  const struct mb_transport *none = c.transport;
  char byte = 'x';
  struct iovec piece = {&byte, 1};
  tap_ok(none == &mb_transport_none && c.in_fd == -1 && c.out_fd == -1, "a closed channel");
  tap_int(none->read(&c, &byte, 1, true), -EBADF, "it reads nothing");
  tap_int(none->read(&c, &byte, 1, false), -EBADF, "without waiting too");
  tap_int(none->writev(&c, &piece, 1, true), -EBADF, "it writes nothing");
  tap_int(none->writev(&c, &piece, 1, false), -EBADF, "without waiting too");
  tap_int(none->sendfile(&c, 0, 0, 1), -EBADF, "it sends no file");
  tap_int(none->unsent(&c), -EBADF, "it holds nothing");
  tap_int(none->end_output(&c), -EBADF, "its output does not end");
  tap_int(none->end(&c, false), -EBADF, "nor does it");
  tap_int(none->end(&c, true), -EBADF, "after its output neither");
  none->reset(&c);
  /* Also when the channel still knows a number, which belongs to somebody else by now. */
  int pair[2];
  peers_unix(pair);
  c.in_fd = c.out_fd = pair[0];
  none->writev(&c, &piece, 1, true);
  none->end(&c, false);
  none->reset(&c);
  tap_ok(recv(pair[1], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN,
         "a number of somebody else's is left alone");
  close_pair(pair);
}

int main(void) {
  struct sigaction quiet = {.sa_handler = SIG_IGN};
  sigaction(SIGPIPE, &quiet, NULL);
  exchange("TCP", peers_tcp, MB_FD_TCP);
  exchange("Unix", peers_unix, MB_FD_LOCAL);
  ends("TCP", peers_tcp, MB_FD_TCP);
  ends("Unix", peers_unix, MB_FD_LOCAL);
  keeps_last();
  reset_on_close();
  files();
  interrupted();
  limited("TCP", peers_tcp, MB_FD_TCP);
  limited("Unix", peers_unix, MB_FD_LOCAL);
  closed_channel();
  return tap_done();
}
