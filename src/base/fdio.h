/*
 * System calls on a descriptor, with their failures handled: EINTR is retried, a wait has a
 * deadline, the O_NONBLOCK of a file description that is not ours is never changed (it may be shared
 * with a terminal or a manager). All functions return a result >= 0, or -errno.
 */
#ifndef MB_FDIO_H
#define MB_FDIO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* What a descriptor is decides how it is read, ended and reset. */
enum mb_fd_kind {
  MB_FD_TCP,    /* AF_INET or AF_INET6 stream socket */
  MB_FD_LOCAL,  /* AF_UNIX stream socket */
  MB_FD_SOCKET, /* any other stream socket */
  MB_FD_FILE,   /* no socket: file, pipe, terminal, as somebody else opened it */
  MB_FD_PIPE,   /* one end of a pipe, opened by us with O_NONBLOCK */
};

#define MB_NO_DEADLINE INT64_MAX

/* Some 30 years. More is a mistake, and would overflow a timer. */
#define MB_SECONDS_MAX 1e9

/* Monotonic time in microseconds. */
int64_t mb_now_usec(void);

struct pollfd;

/*
 * Waits until poll(2) has something to say of one of the descriptors; a signal does not end the wait.
 * count     0: just waits
 * deadline  monotonic microseconds, or MB_NO_DEADLINE
 * Returns how many descriptors that are, 0 at the deadline, or -errno.
 */
int mb_fd_poll_all(struct pollfd *fds, size_t count, int64_t deadline);

/*
 * Waits until one of the poll(2) events is there.
 * deadline  monotonic microseconds, or MB_NO_DEADLINE
 * Returns the events that are there (POLLERR and POLLHUP among them), or 0 at the deadline.
 */
int mb_fd_poll(int fd, short events, int64_t deadline);

/*
 * Reads at most len bytes.
 * wait  false: -EAGAIN when nothing is there; true: waits for at least one byte, or the end
 * Returns the number of bytes, 0 at the end of the stream.
 */
ssize_t mb_fd_read(int fd, enum mb_fd_kind kind, void *data, size_t len, bool wait);

/*
 * Writes what the system takes at once of count pieces (at most IOV_MAX); never raises SIGPIPE on a
 * socket.
 * wait  false: -EAGAIN when nothing can be written now; true: waits until at least one byte is
 *       written
 * Returns the number of bytes, which may be less than asked.
 */
ssize_t mb_fd_writev(int fd, enum mb_fd_kind kind, const struct iovec *pieces, int count,
                     bool wait);

/*
 * How many bytes the system holds that were written to a socket and that the peer has not taken yet.
 * Returns the number, or -errno where that cannot be said.
 */
int mb_fd_unsent(int fd, enum mb_fd_kind kind);

/*
 * Sends bytes of a file over a socket as far as that goes without waiting (sendfile(2)).
 * Returns the number of bytes, 0 at the end of the file; -EAGAIN when nothing can be sent now; -EINVAL
 * when this pair of descriptors does not allow it.
 */
ssize_t mb_fd_sendfile(int fd, enum mb_fd_kind kind, int file, off_t offset, size_t count);

/*
 * Ends output only: sends FIN; reading goes on. -ECONNRESET when the peer has reset the connection.
 */
int mb_fd_end_output(int fd, enum mb_fd_kind kind);

/*
 * Ends the connection in a healthy way, after all output was written: sends FIN at once, also while
 * another process holds a copy of fd. What came in and nobody read is dropped, so that closing does
 * not turn into a reset that costs the peer our last bytes. Does not close fd.
 * output_ended  mb_fd_end_output was called before
 */
int mb_fd_end(int fd, enum mb_fd_kind kind, bool output_ended);

/*
 * Aborts the connection: RST on TCP, end of stream in both directions elsewhere, at once, also
 * while another process holds a copy of fd. Async-signal-safe. Does not close fd.
 */
void mb_fd_reset(int fd, enum mb_fd_kind kind);

/* Turns O_NONBLOCK on or off, for a description that is ours alone. */
int mb_fd_set_nonblocking(int fd, bool on);

/* Whether a close without mb_fd_end (a process that is killed) resets a TCP connection. */
int mb_fd_set_reset_on_close(int fd, enum mb_fd_kind kind, bool reset);

/* Sends small writes at once instead of waiting for an acknowledgement (TCP_NODELAY). */
int mb_fd_set_nodelay(int fd);

/* What the descriptor is. */
enum mb_fd_kind mb_fd_kind_of(int fd);

#endif
