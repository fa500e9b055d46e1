/* Lines for a descriptor. Must not change the flags of an open file that we share. */
#include "base/line_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Opens a pipe or a terminal once more, as an open file of our own that never blocks. That fails without /proc, and
 * for the pipe of another user.
 */
static int open_again(int fd) {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

int mb_line_sink_open(int fd, struct mb_line_sink *ret) {
  struct stat st;
  if (fstat(fd, &st) != 0) return -errno;
  struct mb_line_sink sink = {.fd = -1, .is_socket = S_ISSOCK(st.st_mode)};
  bool may_block = S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode);
  if (may_block) sink.fd = open_again(fd);
  if (sink.fd < 0) {
    sink.blocks = may_block;
    sink.fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (sink.fd < 0) return -errno;
  }
  *ret = sink;
  return 0;
}

/*
 * Waits for room. A pipe that reports room has it for PIPE_BUF bytes, unless another process takes that first: only
 * then a write to one that `blocks` may wait for the reader.
 */
static bool has_room(const struct mb_line_sink *sink, bool may_wait) {
  struct pollfd room = {.fd = sink->fd, .events = POLLOUT};
  return poll(&room, 1, may_wait ? MB_LINE_SINK_PATIENCE_MS : 0) > 0;
}

static ssize_t write_some(const struct mb_line_sink *sink, const char *line, size_t len) {
  if (sink->is_socket) return send(sink->fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL);
  return write(sink->fd, line, len);
}

int mb_line_sink_write(struct mb_line_sink *sink, const char *line, size_t len) {
  bool may_wait = !sink->stuck;
  int r = 0;
  while (len > 0 && r == 0) {
    if (sink->blocks && !has_room(sink, may_wait)) {
      r = -EAGAIN;
      break;
    }
    ssize_t n = write_some(sink, line, len);
    if (n >= 0) {
      line += n;
      len -= (size_t)n;
    } else if (errno == EAGAIN) {
      if (!may_wait || !has_room(sink, true)) r = -EAGAIN;
      may_wait = false;
    } else if (errno != EINTR) {
      r = -errno;
    }
  }
  sink->stuck = r == -EAGAIN;
  return r;
}
