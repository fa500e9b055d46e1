/* Listening sockets that we open, and connections that are accepted from them. */
#ifndef MB_LISTENER_H
#define MB_LISTENER_H

#include <netdb.h>
#include <stdbool.h>

#include "peer.h"

/*
 * Listens at the first of the addresses that can be had. Returns a descriptor, or -errno of the last
 * address.
 */
int mb_listener_tcp(const struct addrinfo *addresses);

/*
 * Listens at a Unix socket; a socket file that is there already is removed first.
 * Returns a descriptor, or -errno; -EEXIST when there is a file that is no socket.
 */
int mb_listener_local(const struct mb_addr *addr);

/*
 * Accepts a connection. A client that has gone before it was accepted is no failure.
 * wait  false: -EAGAIN when there is none
 * Returns a descriptor, or -errno.
 */
int mb_listener_accept(int fd, bool wait, struct mb_addr *ret_remote);

#endif
