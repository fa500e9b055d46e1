/* Picks the transport of plain descriptors, and has the one of none. */
#include "socket/channel.h"

#include <errno.h>

#include "socket/transport_files.h"
#include "socket/transport_socket.h"

struct mb_channel mb_channel_of(int in_fd, int out_fd, enum mb_fd_kind kind) {
  struct mb_channel c = {.kind = kind, .in_fd = in_fd, .out_fd = out_fd};
  c.transport = mb_channel_is_socket(&c) ? &mb_transport_socket : &mb_transport_files;
  return c;
}

/* ---- a closed channel ---- */

static ssize_t read_nothing(struct mb_channel *c, void *data, size_t len, bool wait) {
  (void)c, (void)data, (void)len, (void)wait;
  return -EBADF;
}

static ssize_t write_nothing(struct mb_channel *c, const struct iovec *pieces, int count,
                             bool wait) {
  (void)c, (void)pieces, (void)count, (void)wait;
  return -EBADF;
}

static ssize_t send_nothing(struct mb_channel *c, int file, off_t offset, size_t count) {
  (void)c, (void)file, (void)offset, (void)count;
  return -EBADF;
}

static int unsent(const struct mb_channel *c) {
  (void)c;
  return -EBADF;
}

static int64_t silence(const struct mb_channel *c) {
  (void)c;
  return -EBADF;
}

static int end_output(struct mb_channel *c) {
  (void)c;
  return -EBADF;
}

static int end(struct mb_channel *c, bool output_ended) {
  (void)c, (void)output_ended;
  return -EBADF;
}

static void reset(const struct mb_channel *c) { (void)c; }

const struct mb_transport mb_transport_none = {
    .read = read_nothing,
    .writev = write_nothing,
    .sendfile = send_nothing,
    .unsent = unsent,
    .silence = silence,
    .end_output = end_output,
    .end = end,
    .reset = reset,
};
