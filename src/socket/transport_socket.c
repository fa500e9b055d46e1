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
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

/* A healthy close drops at most this amount of unread input: it does not wait for a client that sends for ever. */
#define DROP_MAX_BYTES (1024 * 1024)

static ssize_t read_socket(struct mb_channel *c, void *data, size_t len, bool wait) {
  for (;;) {
    ssize_t n = recv(c->in_fd, data, len, wait ? 0 : MSG_DONTWAIT);
    if (n >= 0) return n;
    int r = mb_fd_try_again(c->in_fd, POLLIN, wait);
    if (r < 0) return r;
  }
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

static void drop_input(const struct mb_channel *c) {
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
    if (connect(c->in_fd, &none, sizeof none) == 0) return;
  }
  shutdown(c->in_fd, SHUT_RDWR);
}

const struct mb_transport mb_transport_socket = {
    .read = read_socket,
    .writev = write_socket,
    .sendfile = send_file,
    .unsent = unsent,
    .silence = silence,
    .end_output = end_output,
    .end = end,
    .reset = reset,
};
