/*
 * System calls on a descriptor, with their failures handled: EINTR is retried, a wait has a
 * deadline, the O_NONBLOCK of a file description that is not ours is never changed (it may be shared
 * with a terminal or a manager). All functions return a result >= 0, or -errno.
 */
#ifndef MB_FDIO_H
#define MB_FDIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/*
 * Microseconds, rounded up, of a number of seconds: 0 for negative ones and NaN, at most MB_SECONDS_MAX.
 * mb_now_usec() + mb_usec_of(seconds) is a deadline.
 */
int64_t mb_usec_of(double seconds);

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
 * Says what follows a system call that has failed with errno.
 * events  what to wait for where the call would have blocked
 * wait    whether the caller waits
 * Returns 0 when the call is worth another try: it was interrupted, or the events are there now;
 * -EAGAIN when it would block and the caller does not wait; else -errno.
 */
int mb_fd_try_again(int fd, short events, bool wait);

/* Returns whether -errno of sending says that the connection is gone, and no file or system failed. */
bool mb_fd_is_lost(int r);

/* Turns O_NONBLOCK on or off, for a description that is ours alone. */
int mb_fd_set_nonblocking(int fd, bool on);

/* Says whether closing a TCP connection resets it, unless its transport ended it: a killed process does. */
int mb_fd_set_reset_on_close(int fd, enum mb_fd_kind kind, bool reset);

/* Sends small writes at once instead of waiting for an acknowledgement (TCP_NODELAY). */
int mb_fd_set_nodelay(int fd);

/* What the descriptor is. */
enum mb_fd_kind mb_fd_kind_of(int fd);

#endif
