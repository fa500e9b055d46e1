/*
 * The transport of files, pipes and terminals. Somebody else has opened those of a replay; a child's
 * pipes are ours and have O_NONBLOCK.
 */
#include "socket/transport_files.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

static ssize_t read_file(struct mb_channel *c, void *data, size_t len, bool wait) {
  for (;;) {
    if (c->kind == MB_FD_FILE && !wait) {
      int ready = mb_fd_poll(c->in_fd, POLLIN, 0);
      if (ready < 0) return ready;
      if (ready == 0) return -EAGAIN;
    }
    ssize_t n = read(c->in_fd, data, len);
    if (n >= 0) return n;
    int r = mb_fd_try_again(c->in_fd, POLLIN, wait);
    if (r < 0) return r;
  }
}

/*
 * Writes what goes without blocking. A blocking pipe or terminal has no MSG_DONTWAIT, but when poll(2)
 * says that it is writable, it takes PIPE_BUF bytes. Returns the number of bytes, or -1 with errno.
 */
static ssize_t write_now(int fd, const struct iovec *pieces, int count) {
  int ready = mb_fd_poll(fd, POLLOUT, 0);
  if (ready <= 0) {
    errno = ready < 0 ? -ready : EAGAIN;
    return -1;
  }
  int fit = 0;
  for (size_t total = 0; fit < count && total + pieces[fit].iov_len <= PIPE_BUF; fit++) {
    total += pieces[fit].iov_len;
  }
  return fit > 0 ? writev(fd, pieces, fit) : write(fd, pieces[0].iov_base, PIPE_BUF);
}

static ssize_t write_file(struct mb_channel *c, const struct iovec *pieces, int count, bool wait) {
  for (;;) {
    bool blocks = c->kind == MB_FD_FILE && !wait;
    ssize_t n = blocks ? write_now(c->out_fd, pieces, count) : writev(c->out_fd, pieces, count);
    if (n >= 0) return n;
    int r = mb_fd_try_again(c->out_fd, POLLOUT, wait);
    if (r < 0) return r;
  }
}

static ssize_t send_file(struct mb_channel *c, int file, off_t offset, size_t count) {
  (void)c, (void)file, (void)offset, (void)count;
  return -EINVAL;
}

static int unsent(const struct mb_channel *c) {
  (void)c;
  return -ENOTSOCK;
}

static int64_t silence(const struct mb_channel *c) {
  (void)c;
  return -ENOTSOCK;
}

/* A file ends when it is closed, and the handle does that. */
static int end_output(struct mb_channel *c) {
  (void)c;
  return 0;
}

static int end(struct mb_channel *c, bool output_ended) {
  (void)c, (void)output_ended;
  return 0;
}

static void reset(const struct mb_channel *c) { (void)c; }

const struct mb_transport mb_transport_files = {
    .read = read_file,
    .writev = write_file,
    .sendfile = send_file,
    .unsent = unsent,
    .silence = silence,
    .end_output = end_output,
    .end = end,
    .reset = reset,
};
