/* System calls on a descriptor. Knows neither Lua nor the log. */
#include "base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

int mb_fd_poll_once(struct pollfd *fds, size_t count, int64_t deadline) {
  int timeout_ms = -1;
  if (deadline != MB_NO_DEADLINE) {
    int64_t left = deadline - mb_now_usec();
    if (left < 0) left = 0;
    int64_t ms = (left + 999) / 1000;
    timeout_ms = ms > INT_MAX ? INT_MAX : (int)ms;
  }
  int n = poll(fds, count, timeout_ms);
  return n < 0 ? -errno : n;
}

int mb_fd_poll_all(struct pollfd *fds, size_t count, int64_t deadline) {
  for (;;) {
    int n = mb_fd_poll_once(fds, count, deadline);
    /* A wait of weeks takes several calls. */
    if (n == 0 && deadline != MB_NO_DEADLINE && mb_now_usec() < deadline) continue;
    if (n != -EINTR) return n;
  }
}

int mb_fd_poll(int fd, short events, int64_t deadline) {
  struct pollfd p = {.fd = fd, .events = events};
  int n = mb_fd_poll_all(&p, 1, deadline);
  if (n <= 0) return n;
  return p.revents & POLLNVAL ? -EBADF : p.revents;
}

int mb_fd_try_again(int fd, short events, bool wait) {
  if (errno == EINTR) return 0;
  if (errno != EAGAIN && errno != EWOULDBLOCK) return -errno;
  if (!wait) return -EAGAIN;
  int r = mb_fd_poll(fd, events, MB_NO_DEADLINE);
  return r < 0 ? r : 0;
}

bool mb_fd_is_lost(int r) {
  return r == -ECONNRESET || r == -ETIMEDOUT || r == -EHOSTUNREACH || r == -ENETUNREACH ||
         r == -ECONNABORTED;
}

bool mb_fd_is_gone(int r) { return r == -EPIPE || r == -ENOTCONN || mb_fd_is_lost(r); }

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

int mb_fd_set_keepalive(int fd, int seconds) {
  const int on = 1, probes = 4;
  const int idle = (seconds + 1) / 2;
  const int interval = (seconds - idle + probes - 1) / probes;
  const struct {
    int level, name, value;
  } settings[] = {
      {IPPROTO_TCP, TCP_KEEPIDLE, idle},
      {IPPROTO_TCP, TCP_KEEPINTVL, interval > 0 ? interval : 1},
      {IPPROTO_TCP, TCP_KEEPCNT, probes},
      {SOL_SOCKET, SO_KEEPALIVE, on}, /* last: the timer starts with the times above */
  };
  for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
    const int *value = &settings[i].value;
    if (setsockopt(fd, settings[i].level, settings[i].name, value, sizeof *value) != 0)
      return -errno;
  }
  return 0;
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
