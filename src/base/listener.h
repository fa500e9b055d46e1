/* Listening sockets that we open, and connections that are accepted from them. */
#ifndef MB_LISTENER_H
#define MB_LISTENER_H

#include <netdb.h>
#include <stdbool.h>

#include "base/addr.h"

/* How to listen otherwise than moonbridge_io does; all zero is as it does. */
struct mb_listener_options {
  bool no_reuseaddr; /* not while connections of a listener before are still ending */
  bool reuseport;    /* several listeners share the port, which the system spreads clients over */
  int family;        /* of TCP: AF_INET or AF_INET6 only; 0: either */
  bool v6only;       /* an IPv6 address takes no IPv4 clients */
  bool keep_file;    /* a socket file that is there already is -EADDRINUSE */
  int mask;          /* the umask while a socket file is made; 0: the process's own */
  int mode;          /* the socket file's mode; 0: as the umask makes it */
};

/*
 * Listens at the first of the addresses that can be had.
 * options  NULL: none
 * Returns a descriptor, or -errno of the last address.
 */
int mb_listener_tcp(const struct addrinfo *addresses, const struct mb_listener_options *options);

/*
 * Listens at a Unix socket; a socket file that is there already is removed first.
 * options  NULL: none
 * Returns a descriptor, or -errno; -EEXIST when there is a file that is no socket.
 */
int mb_listener_local(const struct mb_addr *addr, const struct mb_listener_options *options);

/*
 * Accepts a connection. A client that has gone before it was accepted is no failure.
 * wait  false: -EAGAIN when there is none
 * Returns a descriptor, or -errno.
 */
int mb_listener_accept(int fd, bool wait, struct mb_addr *ret_remote);

#endif
