/* Opens listening sockets, and accepts connections from them. */
#ifndef MB_LISTENER_H
#define MB_LISTENER_H

#include <netdb.h>
#include <stdbool.h>

#include "base/addr.h"

/* Ways to listen. With all of them zero a socket listens as moonbridge_io's do. */
struct mb_listener_options {
  bool no_reuseaddr; /* fails while connections of an earlier listener are still ending */
  bool reuseport; /* several listeners share the port, and the system spreads clients over them */
  int family;     /* TCP: AF_INET or AF_INET6 only; 0: either */
  bool v6only;    /* an IPv6 address takes no IPv4 clients */
  bool both;      /* "::" takes IPv4 clients, whatever net.ipv6.bindv6only says */
  bool keep_file; /* fails with -EADDRINUSE when the socket file is there already */
  bool any_file;  /* removes a file that is no socket, too; no directory */
  int mask;       /* the umask while a socket file is made; 0: the process's own */
  int mode;       /* the socket file's mode; 0: as the umask makes it */
};

/*
 * Listens at the first of the addresses at which that is possible.
 * options  NULL: none
 * Returns a descriptor, or -errno of the last address.
 */
int mb_listener_tcp(const struct addrinfo *addresses, const struct mb_listener_options *options);

/*
 * Listens at a Unix socket. Removes a socket file that is there already.
 * options  NULL: none
 * Returns a descriptor, or -errno; -EEXIST when there is a file that is no socket, or a directory.
 */
int mb_listener_local(const struct mb_addr *addr, const struct mb_listener_options *options);

/* Returns whether a server listens at the path of a Unix socket: a file alone does not say so. */
bool mb_listener_answers(const struct mb_addr *addr);

/*
 * Accepts a connection. A client that has gone before it was accepted is passed over.
 * wait  false: returns -EAGAIN when there is no connection
 * Returns a descriptor, or -errno.
 */
int mb_listener_accept(int fd, bool wait, struct mb_addr *ret_remote);

/*
 * Begins to end a listening socket, for all processes that have it: those who wait in it can still be accepted, and
 * nobody joins them but clients that were on their way. At a Unix socket others are refused. At a TCP port the system
 * is silent, and they try again after a second, by themselves.
 */
void mb_listener_stop(int fd);

/* Ends a listening socket, for all processes that have it. Others are refused, and who still waits is reset. */
void mb_listener_end(int fd);

#endif
