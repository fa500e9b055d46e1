/*
 * The transport of plain stream sockets. It never changes the O_NONBLOCK of a description that others
 * share for longer than one system call.
 */
#include "socket/transport_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "socket/channel.h"

/* A healthy close drops at most this amount of unread input: it does not wait for a client that sends for ever. */
#define DROP_MAX_BYTES (1024 * 1024)

/*
 * A piece is what the peer has sent by one call. While one byte of it is unread, all of it counts against the
 * peer's SO_SNDBUF, and poll(2) tells the peer that it can send only while four times that amount fits. A piece
 * of this many bytes fits in the smallest SO_SNDBUF of Linux.
 */
#define HELD_PIECE_MAX 192

/* Returns how many bytes of input the system has; SIZE_MAX when it cannot tell. */
static size_t unread(const struct mb_channel *c) {
  int count;
  return ioctl(c->in_fd, SIOCINQ, &count) == 0 && count >= 0 ? (size_t)count : SIZE_MAX;
}

void mb_channel_drop_held(struct mb_channel *c) {
  char byte;
  if (!c->held) return;
  c->held = false;
  c->piece = 0;
  while (recv(c->in_fd, &byte, 1, MSG_DONTWAIT) < 0) {
    /* The byte is there: it must neither come twice nor make a reset of a healthy end. */
    if (errno != EINTR && !(errno == EAGAIN && unread(c) > 0)) return;
  }
}

/* Returns events of poll(2) when the peer has ended its output (POLLRDHUP) or the connection failed; or 0. */
static int peers_end(const struct mb_channel *c) { return mb_fd_poll(c->in_fd, POLLRDHUP, 0); }

/* A descriptor of epoll(7) that reports what changes, and not what is there. Returns it, or -1. */
static int open_edge(const struct mb_channel *c) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET};
  int fd = epoll_create1(EPOLL_CLOEXEC);
  if (fd > 0 && epoll_ctl(fd, EPOLL_CTL_ADD, c->in_fd, &event) == 0) return fd;
  if (fd >= 0) close(fd);
  return -1;
}

int mb_channel_edge(struct mb_channel *c) {
  struct epoll_event event;
  bool blocks = c->piece > HELD_PIECE_MAX;
  if (!blocks && !c->edge_fd) c->edge_fd = open_edge(c);
  if (blocks || c->edge_fd < 0) {
    mb_channel_drop_held(c);
    if (c->edge_fd < 0) c->edge_fd = 0;
    return c->in_fd;
  }
  epoll_wait(c->edge_fd, &event, 1, 0); /* what has come until now is looked at here */
  return unread(c) > 1 || peers_end(c) ? -1 : c->edge_fd;
}

void mb_channel_close_edge(struct mb_channel *c) {
  if (c->edge_fd > 0) close(c->edge_fd);
  c->edge_fd = 0;
}

/* Reads `size` bytes that are there, and holds the last one. Returns their number, or -1 with errno. */
static ssize_t read_and_hold(struct mb_channel *c, char *data, size_t size) {
  ssize_t n = size > 1 ? recv(c->in_fd, data, size - 1, MSG_DONTWAIT) : 0;
  if (n < 0 || (size_t)n < size - 1) return n;
  if (recv(c->in_fd, data + n, 1, MSG_DONTWAIT | MSG_PEEK) != 1) return n > 0 ? n : -1;
  c->held = true;
  return n + 1;
}

/*
 * Looks for what comes behind the byte that is held. Returns 1 when the byte has to be given away, as there is
 * more, it may keep the peer from sending, or the connection failed; 0 at the peer's end, before which nothing has
 * come; or -EAGAIN.
 */
static int look_behind_held(struct mb_channel *c, bool wait) {
  for (;;) {
    if (unread(c) > 1) return 1;
    int end = peers_end(c);
    if (end < 0 || end & POLLERR) return 1;
    if (end > 0) return unread(c) > 1; /* it may have come just before the end */
    if (c->piece > HELD_PIECE_MAX) return 1;
    if (!wait) return -EAGAIN;
    int fd = mb_channel_edge(c);
    int r = fd >= 0 ? mb_fd_poll(fd, POLLIN, MB_NO_DEADLINE) : 0;
    if (r < 0) return r;
    if (!c->held) return 1;
  }
}

/* Reads, and holds the last byte unless the system has more than len. */
static ssize_t read_keeping(struct mb_channel *c, char *data, size_t len, bool wait) {
  for (;;) {
    int r = c->held ? look_behind_held(c, wait) : 1;
    if (r <= 0) return r;
    mb_channel_drop_held(c);
    size_t there = unread(c);
    if (there == 0) c->piece = 0;
    ssize_t n = there > 0 && there <= len
                    ? read_and_hold(c, data, there)
                    : recv(c->in_fd, data, len, MSG_DONTWAIT | (there == 0 ? MSG_PEEK : 0));
    if (there == 0 && n > 0) continue; /* it has come just now */
    if (n >= 0) {
      c->piece += (size_t)n;
      return n;
    }
    r = mb_fd_try_again(c->in_fd, POLLIN, wait);
    if (r < 0) return r;
  }
}

static ssize_t read_socket(struct mb_channel *c, void *data, size_t len, bool wait) {
  if (c->keeps_last) return read_keeping(c, data, len, wait);
  for (;;) {
    ssize_t n = recv(c->in_fd, data, len, wait ? 0 : MSG_DONTWAIT);
    if (n >= 0) return n;
    int r = mb_fd_try_again(c->in_fd, POLLIN, wait);
    if (r < 0) return r;
  }
}

/* The limit stays with the socket. Only this function sees it: the others take its end for O_NONBLOCK, and poll. */
static ssize_t read_socket_within(struct mb_channel *c, void *data, size_t len, int64_t usec) {
  if (c->keeps_last) return read_keeping(c, data, len, false);
  if (c->read_limit != usec) {
    struct timeval limit = {.tv_sec = usec / 1000000, .tv_usec = usec % 1000000};
    if (setsockopt(c->in_fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0) return -EAGAIN;
    c->read_limit = usec;
  }
  ssize_t n = recv(c->in_fd, data, len, 0);
  return n >= 0 ? n : errno == EINTR ? -EAGAIN : -errno;
}

static ssize_t write_socket(struct mb_channel *c, const struct iovec *pieces, int count,
                            bool wait) {
  struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)count};
  for (;;) {
    ssize_t n = sendmsg(c->out_fd, &message, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
    if (n >= 0) return n;
    int r = mb_fd_try_again(c->out_fd, POLLOUT, wait);
    if (r < 0) return r;
  }
}

/* sendfile(2) has no MSG_DONTWAIT, so the socket gets O_NONBLOCK as long as the call runs. */
static ssize_t send_file(struct mb_channel *c, int file, off_t offset, size_t count) {
  int flags = fcntl(c->out_fd, F_GETFL);
  if (flags < 0) return -errno;
  bool change = !(flags & O_NONBLOCK);
  if (change && fcntl(c->out_fd, F_SETFL, flags | O_NONBLOCK) != 0) return -errno;
  ssize_t n;
  do {
    n = sendfile(c->out_fd, file, &offset, count);
  } while (n < 0 && errno == EINTR);
  if (n < 0) n = -errno;
  if (change) fcntl(c->out_fd, F_SETFL, flags);
  return n;
}

static int unsent(const struct mb_channel *c) {
  int count;
  return ioctl(c->out_fd, SIOCOUTQ, &count) == 0 ? count : -errno;
}

static int64_t silence(const struct mb_channel *c) {
  struct tcp_info info;
  socklen_t size = sizeof info;
  if (getsockopt(c->in_fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return -errno;
  uint32_t sent = info.tcpi_last_data_sent, received = info.tcpi_last_data_recv;
  return sent < received ? sent : received;
}

static int end_output(struct mb_channel *c) {
  if (shutdown(c->out_fd, SHUT_WR) == 0) return 0;
  /* The peer has reset the connection: it is not connected any more. */
  return errno == ENOTCONN ? -ECONNRESET : -errno;
}

static void drop_input(struct mb_channel *c) {
  mb_channel_drop_held(c);
  static char scrap[16384]; /* not on the stack: its pages are touched only where there is input */
  /* On TCP, MSG_TRUNC discards without copying. */
  int flags = MSG_DONTWAIT | (c->kind == MB_FD_TCP ? MSG_TRUNC : 0);
  for (size_t dropped = 0; dropped < DROP_MAX_BYTES;) {
    ssize_t n = recv(c->in_fd, scrap, sizeof scrap, flags);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    dropped += (size_t)n;
  }
}

static int end(struct mb_channel *c, bool output_ended) {
  int r = output_ended ? 0 : end_output(c);
  mb_fd_set_reset_on_close(c->out_fd, c->kind, false);
  drop_input(c);
  /* Tells a local peer that goes on writing that nobody reads any more. */
  if (c->kind != MB_FD_TCP) shutdown(c->out_fd, SHUT_RD);
  return r;
}

static void reset(const struct mb_channel *c) {
  if (c->kind == MB_FD_TCP) {
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    /* The family alone: a sandbox refuses longer addresses. */
    if (connect(c->in_fd, &none, sizeof none.sa_family) == 0) return;
  }
  bool sees_reset = c->kind == MB_FD_LOCAL && unread(c) > 0;
  shutdown(c->in_fd, sees_reset ? SHUT_RD : SHUT_RDWR);
}

const struct mb_transport mb_transport_socket = {
    .read = read_socket,
    .read_within = read_socket_within,
    .writev = write_socket,
    .sendfile = send_file,
    .unsent = unsent,
    .silence = silence,
    .end_output = end_output,
    .end = end,
    .reset = reset,
};
