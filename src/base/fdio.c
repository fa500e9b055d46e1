/* System calls on a descriptor. Knows neither Lua nor the log. */
#include "base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/*
 * Unread input that a healthy close drops at most: a client that sends without end is not waited
 * for.
 */
#define DROP_MAX_BYTES (1024 * 1024)

int64_t mb_now_usec(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int mb_fd_poll_all(struct pollfd *fds, size_t count, int64_t deadline) {
  for (;;) {
    int timeout_ms = -1;
    if (deadline != MB_NO_DEADLINE) {
      int64_t left = deadline - mb_now_usec();
      if (left < 0) left = 0;
      int64_t ms = (left + 999) / 1000;
      timeout_ms = ms > INT_MAX ? INT_MAX : (int)ms;
    }
    int n = poll(fds, count, timeout_ms);
    if (n > 0 || (n == 0 && timeout_ms != INT_MAX)) return n;
    if (n < 0 && errno != EINTR) return -errno;
  }
}

int mb_fd_poll(int fd, short events, int64_t deadline) {
  struct pollfd p = {.fd = fd, .events = events};
  int n = mb_fd_poll_all(&p, 1, deadline);
  if (n <= 0) return n;
  return p.revents & POLLNVAL ? -EBADF : p.revents;
}

/* Blocks until a call that said EAGAIN is worth another try. */
static int wait_for(int fd, short events) {
  int r = mb_fd_poll(fd, events, MB_NO_DEADLINE);
  return r < 0 ? r : 0;
}

static bool is_socket(enum mb_fd_kind kind) { return kind != MB_FD_FILE && kind != MB_FD_PIPE; }

ssize_t mb_fd_read(int fd, enum mb_fd_kind kind, void *data, size_t len, bool wait) {
  for (;;) {
    if (kind == MB_FD_FILE && !wait) {
      int r = mb_fd_poll(fd, POLLIN, 0);
      if (r < 0) return r;
      if (r == 0) return -EAGAIN;
    }
    ssize_t n =
        is_socket(kind) ? recv(fd, data, len, wait ? 0 : MSG_DONTWAIT) : read(fd, data, len);
    if (n >= 0) return n;
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return -errno;
    if (!wait) return -EAGAIN;
    int r = wait_for(fd, POLLIN);
    if (r < 0) return r;
  }
}

/*
 * A blocking pipe or terminal has no MSG_DONTWAIT: where poll says "writable", PIPE_BUF bytes go
 * without blocking.
 */
static ssize_t write_file_now(int fd, const struct iovec *pieces, int count) {
  int r = mb_fd_poll(fd, POLLOUT, 0);
  if (r < 0) return r;
  if (r == 0) return -EAGAIN;
  int fit = 0;
  for (size_t total = 0; fit < count && total + pieces[fit].iov_len <= PIPE_BUF; fit++) {
    total += pieces[fit].iov_len;
  }
  ssize_t n = fit > 0 ? writev(fd, pieces, fit) : write(fd, pieces[0].iov_base, PIPE_BUF);
  return n < 0 ? -errno : n;
}

static ssize_t write_once(int fd, enum mb_fd_kind kind, const struct iovec *pieces, int count,
                          bool wait) {
  ssize_t n;
  if (is_socket(kind)) {
    struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)count};
    n = sendmsg(fd, &message, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
  } else if (wait || kind == MB_FD_PIPE) {
    n = writev(fd, pieces, count);
  } else {
    return write_file_now(fd, pieces, count);
  }
  return n < 0 ? -errno : n;
}

ssize_t mb_fd_writev(int fd, enum mb_fd_kind kind, const struct iovec *pieces, int count,
                     bool wait) {
  for (;;) {
    ssize_t n = write_once(fd, kind, pieces, count, wait);
    if (n >= 0) return n;
    if (n == -EINTR) continue;
    if (n != -EAGAIN && n != -EWOULDBLOCK) return n;
    if (!wait) return -EAGAIN;
    int r = wait_for(fd, POLLOUT);
    if (r < 0) return r;
  }
}

int mb_fd_unsent(int fd, enum mb_fd_kind kind) {
  int count;
  if (!is_socket(kind)) return -ENOTSOCK;
  return ioctl(fd, SIOCOUTQ, &count) == 0 ? count : -errno;
}

/* sendfile(2) has no MSG_DONTWAIT: the flag of the socket is set for as long as it runs. */
ssize_t mb_fd_sendfile(int fd, enum mb_fd_kind kind, int file, off_t offset, size_t count) {
  if (!is_socket(kind)) return -EINVAL;
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  bool change = !(flags & O_NONBLOCK);
  if (change && fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) return -errno;
  ssize_t n;
  do {
    n = sendfile(fd, file, &offset, count);
  } while (n < 0 && errno == EINTR);
  if (n < 0) n = -errno;
  if (change) fcntl(fd, F_SETFL, flags);
  return n;
}

static void drop_input(int fd, enum mb_fd_kind kind) {
  static char scrap[16384]; /* not on the stack: its pages are touched only where there is input */
  /* On TCP, MSG_TRUNC discards without copying. */
  int flags = MSG_DONTWAIT | (kind == MB_FD_TCP ? MSG_TRUNC : 0);
  for (size_t dropped = 0; dropped < DROP_MAX_BYTES;) {
    ssize_t n = recv(fd, scrap, sizeof scrap, flags);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    dropped += (size_t)n;
  }
}

int mb_fd_end_output(int fd, enum mb_fd_kind kind) {
  if (!is_socket(kind) || shutdown(fd, SHUT_WR) == 0) return 0;
  /* Not connected any more: the peer has reset the connection. */
  return errno == ENOTCONN ? -ECONNRESET : -errno;
}

int mb_fd_end(int fd, enum mb_fd_kind kind, bool output_ended) {
  if (!is_socket(kind)) return 0;
  int r = output_ended ? 0 : mb_fd_end_output(fd, kind);
  mb_fd_set_reset_on_close(fd, kind, false);
  drop_input(fd, kind);
  /* Nobody will read any more: a local peer that goes on writing is told so. */
  if (kind != MB_FD_TCP) shutdown(fd, SHUT_RD);
  return r;
}

void mb_fd_reset(int fd, enum mb_fd_kind kind) {
  if (!is_socket(kind)) return;
  if (kind == MB_FD_TCP) {
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    if (connect(fd, &none, sizeof none) == 0) return;
  }
  shutdown(fd, SHUT_RDWR);
}

int mb_fd_set_nonblocking(int fd, bool on) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  return fcntl(fd, F_SETFL, flags) == 0 ? 0 : -errno;
}

int mb_fd_set_reset_on_close(int fd, enum mb_fd_kind kind, bool reset) {
  if (kind != MB_FD_TCP) return 0;
  struct linger linger = {.l_onoff = reset, .l_linger = 0};
  return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0 ? 0 : -errno;
}

int mb_fd_set_nodelay(int fd) {
  int on = 1;
  return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 ? 0 : -errno;
}

enum mb_fd_kind mb_fd_kind_of(int fd) {
  int domain = 0;
  socklen_t len = sizeof domain;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0) return MB_FD_FILE;
  switch (domain) {
    case AF_INET:
    case AF_INET6:
      return MB_FD_TCP;
    case AF_UNIX:
      return MB_FD_LOCAL;
    default:
      return MB_FD_SOCKET;
  }
}
