/* Makes a channel of descriptors, with the transport that fits them. */
#ifndef MB_CHANNEL_H
#define MB_CHANNEL_H

#include "base/transport.h"

/* The transport of a channel that is closed: every function fails with EBADF. */
extern const struct mb_transport mb_transport_none;

#define MB_CHANNEL_CLOSED \
  ((struct mb_channel){.transport = &mb_transport_none, .in_fd = -1, .out_fd = -1})

/*
 * Makes a channel of descriptors.
 * in_fd, out_fd  the same for a socket; -1 for a direction that does not exist
 */
struct mb_channel mb_channel_of(int in_fd, int out_fd, enum mb_fd_kind kind);

/* Takes the byte that is held (keeps_last) out of the system. Does nothing when there is none. */
void mb_channel_drop_held(struct mb_channel *c);

/*
 * Returns a descriptor for poll(2), with POLLIN, that is ready when something comes behind the byte that is
 * held; -1 when it has come already. Gives the byte away when that would keep the peer from sending, or the
 * system has no such descriptor.
 */
int mb_channel_edge(struct mb_channel *c);

/* Closes that descriptor, if there is one. */
void mb_channel_close_edge(struct mb_channel *c);

/* Returns whether the channel is a socket, and not a file or a pipe. */
static inline bool mb_channel_is_socket(const struct mb_channel *c) {
  return c->kind == MB_FD_TCP || c->kind == MB_FD_LOCAL || c->kind == MB_FD_SOCKET;
}

#endif
