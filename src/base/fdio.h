/*
 * System calls on a descriptor, with their failures handled. They retry after EINTR, wait until a
 * deadline, and never change O_NONBLOCK of a file description that is not ours (a terminal or a
 * manager may share it). All functions return a result >= 0, or -errno.
 */
#ifndef MB_FDIO_H
#define MB_FDIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

/* The kinds of descriptors, which are read, ended and reset in different ways. */
enum mb_fd_kind {
  MB_FD_NONE,   /* nothing */
  MB_FD_TCP,    /* AF_INET or AF_INET6 stream socket */
  MB_FD_LOCAL,  /* AF_UNIX stream socket */
  MB_FD_SOCKET, /* any other stream socket */
  MB_FD_FILE,   /* no socket, but a file, pipe or terminal that somebody else opened */
  MB_FD_PIPE,   /* one end of a pipe, opened by us with O_NONBLOCK */
};

struct pollfd;

/*
 * Waits until poll(2) reports events of one of the descriptors, once.
 * count     0: just waits
 * deadline  monotonic microseconds, or MB_NO_DEADLINE; a wait may end before a deadline that is weeks away
 * Returns how many descriptors have events, 0 at the deadline, or -errno; -EINTR after a signal.
 */
int mb_fd_poll_once(struct pollfd *fds, size_t count, int64_t deadline);

/*
 * Waits until poll(2) reports events of one of the descriptors; a signal does not end the wait.
 * count     0: just waits
 * deadline  monotonic microseconds, or MB_NO_DEADLINE
 * Returns how many descriptors have events, 0 at the deadline, or -errno.
 */
int mb_fd_poll_all(struct pollfd *fds, size_t count, int64_t deadline);

/*
 * Waits until poll(2) reports one of the events.
 * deadline  monotonic microseconds, or MB_NO_DEADLINE
 * Returns the events that poll(2) reports, also POLLERR and POLLHUP; 0 at the deadline; or -errno.
 */
int mb_fd_poll(int fd, short events, int64_t deadline);

/*
 * Decides what to do after a system call that has failed with errno.
 * events  the events to wait for when the call would have blocked
 * wait    whether the caller waits
 * Returns 0 when the call is worth another try: a signal interrupted it, or poll(2) has reported the
 * events since; -EAGAIN when it would block and the caller does not wait; otherwise -errno.
 */
int mb_fd_try_again(int fd, short events, bool wait);

/*
 * Returns whether -errno says that the connection broke. A read may then look like a healthy end, as the
 * system tells of it once: half of what the peer meant to send must not pass for the whole.
 */
bool mb_fd_is_lost(int r);

/*
 * Returns whether -errno of sending says that nobody is there any more: the connection broke, or the peer
 * has ended it. Any other error is one of the file or the system.
 */
bool mb_fd_is_gone(int r);

/* Turns O_NONBLOCK on or off. The file description must be ours alone. */
int mb_fd_set_nonblocking(int fd, bool on);

/*
 * Sets whether close(2) resets a TCP connection (SO_LINGER), until its transport ends it. A process that
 * is killed resets its connections in this way. Does nothing for any other kind.
 */
int mb_fd_set_reset_on_close(int fd, enum mb_fd_kind kind, bool reset);

/* Sends small writes at once instead of waiting for an acknowledgement (TCP_NODELAY). */
int mb_fd_set_nodelay(int fd);

/*
 * Makes the system ask a silent TCP peer whether it is still there (SO_KEEPALIVE): after half of the time,
 * and then four times in the other half. Without an answer, the connection fails with ETIMEDOUT.
 * seconds  the whole time, at most MB_KEEPALIVE_MAX; less than 5 counts as 5, as the system takes no
 *          fractions
 * Returns 0 or -errno.
 */
int mb_fd_set_keepalive(int fd, int seconds);
#define MB_KEEPALIVE_MAX 65534 /* the system takes half of it at most: 32767 */

/* Returns the kind of a descriptor that somebody else opened. */
enum mb_fd_kind mb_fd_kind_of(int fd);

#endif
