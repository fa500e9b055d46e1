/*
 * The seam below a handle: how the bytes of a connection come and go, and how it ends. A transport is
 * one table of functions in a file of its own; the handle knows no other way to its descriptors.
 */
#ifndef MB_TRANSPORT_H
#define MB_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/fdio.h"

struct mb_transport;

/* A connection, or a pair of files, with its transport. */
struct mb_channel {
  const struct mb_transport *transport;
  enum mb_fd_kind kind;
  int in_fd, out_fd; /* the same for a socket; -1: there is no such direction (any more) */

  /*
   * A Unix socket has no reset, but closing it with unread input is one for the peer: it reads ECONNRESET
   * behind what was sent, and not the end. So the last byte that was read stays in the system, too.
   */
  bool keeps_last; /* it does so from the next read on */
  bool held;       /* the next byte in the system was read already */
  size_t piece;    /* what the peer has sent together with that byte: so many bytes at most */
  int edge_fd;     /* of mb_channel_edge; 0: not opened */

  int64_t read_limit; /* of read_within, as the system has it; 0: none */
};

/*
 * Every function retries after EINTR, never raises SIGPIPE on a socket, closes nothing, and returns a
 * result >= 0 or -errno.
 */
struct mb_transport {
  /*
   * Reads at most len bytes.
   * wait  false: -EAGAIN when nothing is there; true: waits for at least one byte, or the end
   * Returns the number of bytes, 0 at the end of the stream.
   */
  ssize_t (*read)(struct mb_channel *c, void *data, size_t len, bool wait);

  /*
   * Reads as with wait, in one system call, for at most some `usec` microseconds: -EAGAIN after that, after a
   * signal, and at once where the description is O_NONBLOCK. NULL: there is no such call.
   */
  ssize_t (*read_within)(struct mb_channel *c, void *data, size_t len, int64_t usec);

  /*
   * Writes what the system takes at once of count pieces (at most IOV_MAX).
   * wait  false: -EAGAIN when nothing can be written now; true: waits until at least one byte is
   *       written
   * Returns the number of bytes, which may be less than asked.
   */
  ssize_t (*writev)(struct mb_channel *c, const struct iovec *pieces, int count, bool wait);

  /*
   * Sends bytes of a file without waiting (sendfile(2)).
   * Returns the number of bytes, 0 at the end of the file; -EAGAIN when nothing can be sent now;
   * -EINVAL when this pair of descriptors does not allow it: the caller copies then.
   */
  ssize_t (*sendfile)(struct mb_channel *c, int file, off_t offset, size_t count);

  /*
   * Returns how many written bytes the system holds that the peer has not taken yet, or -errno where
   * nobody can say.
   */
  int (*unsent)(const struct mb_channel *c);

  /*
   * Returns the milliseconds since a byte came or went last, or -errno where nobody can say.
   * Async-signal-safe.
   */
  int64_t (*silence)(const struct mb_channel *c);

  /*
   * Ends the output: sends FIN; reading goes on. Returns 0, or -ECONNRESET when the peer has reset the
   * connection.
   */
  int (*end_output)(struct mb_channel *c);

  /*
   * Ends the connection in a healthy way, after all output was written: sends FIN at once, also while
   * another process holds a copy of the descriptor. Drops what came in and nobody read, so that closing
   * does not turn into a reset that costs the peer our last bytes.
   * output_ended  end_output was called before
   */
  int (*end)(struct mb_channel *c, bool output_ended);

  /*
   * Aborts the connection: RST on TCP, the end of the stream in both directions elsewhere, at once, also
   * while another process holds a copy of the descriptor. But a Unix socket with unread input takes nothing
   * any more, and the peer sees a reset when the last copy is closed: an end at once would look healthy.
   * Async-signal-safe.
   */
  void (*reset)(const struct mb_channel *c);
};

#endif
