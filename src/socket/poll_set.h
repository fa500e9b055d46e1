/*
 * The elements that moonbridge_io.poll waits for, and the wait. An element is a descriptor, a socket or a
 * child; a socket may be ready without asking the system. Knows nothing of the script's sets.
 */
#ifndef MB_POLL_SET_H
#define MB_POLL_SET_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/child.h"
#include "socket/handle.h"

struct mb_poll_set;

/* Returns the size of a set in bytes; the caller provides the memory. */
size_t mb_poll_set_size(size_t capacity);

/* Makes an empty set in that memory. */
void mb_poll_set_init(struct mb_poll_set *set, size_t capacity);

void mb_poll_set_clear(struct mb_poll_set *set);

/*
 * Returns 0 when all elements that were added are in the set. Otherwise returns the capacity that they
 * need: the caller makes a larger set and adds all of them again.
 */
size_t mb_poll_set_lacks(const struct mb_poll_set *set);

/* Adds a descriptor. events: of poll(2) */
void mb_poll_set_add_fd(struct mb_poll_set *set, int fd, short events);

/* Adds a socket, which stays where it is until the set is emptied. wanted: POLLIN, POLLOUT, both */
void mb_poll_set_add_handle(struct mb_poll_set *set, struct mb_handle *h, short wanted);

/* Adds a child; NULL: a child whose end is known. */
void mb_poll_set_add_child(struct mb_poll_set *set, const struct mb_child *child);

/*
 * Waits until something is ready.
 * deadline           monotonic microseconds, or MB_NO_DEADLINE
 * wakeup_on_sigterm  true: SIGTERM ends the wait too, also when it came before
 * Returns 1; 0 at the deadline; -EINTR when a signal was handled; -EBADF, with the number in *ret_fd,
 * when a descriptor is not open; or -errno.
 */
int mb_poll_set_wait(struct mb_poll_set *set, int64_t deadline, bool wakeup_on_sigterm,
                     int *ret_fd);

#endif
