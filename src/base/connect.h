/*
 * Connections that we open: a name becomes addresses, and the first that takes us is the peer.
 * Nothing here waits unless it is told to, but for the lookup of a name.
 */
#ifndef MB_CONNECT_H
#define MB_CONNECT_H

#include <netdb.h>
#include <stdbool.h>

#include "base/alloc.h"
#include "base/addr.h"

/*
 * Looks up the TCP addresses of a host and port, literals without asking anybody.
 * host, port  names or numbers; port must be in range when it is a number
 * passive     to listen there, not to connect
 * Returns 0, or what getaddrinfo(3) does. The list is the caller's to free.
 */
int mb_resolve(const char *host, const char *port, bool passive, struct addrinfo **ret);

/* An attempt to connect to one address after the other. */
struct mb_attempt {
  struct addrinfo *addresses;
  const struct addrinfo *at; /* the one that is tried, or was last */
  int lost;                  /* errno of a connection that was taken, and lost before we looked */
  size_t size;               /* of this block */
  char target[];             /* what the script has asked for: "localhost:80" */
};

/* Makes an attempt, without addresses. Returns NULL when there is no memory. */
struct mb_attempt *mb_attempt_new(struct mb_alloc *alloc, const char *target);

/* Gives it the addresses, at least one, which it owns from now on. */
void mb_attempt_set_addresses(struct mb_attempt *a, struct addrinfo *addresses);

/* Frees the attempt, which may be NULL. */
void mb_attempt_free(struct mb_attempt *a, struct mb_alloc *alloc);

/*
 * Starts to connect. Returns a descriptor, or -errno of the last address that was tried.
 */
int mb_attempt_start(struct mb_attempt *a);

/*
 * Finds out what has become of it, and goes on with the next address when one has refused.
 * fd    stays the same number; -1 afterwards when no socket for the next address could be had
 * wait  until it is decided
 * Returns 0 when connected, with both addresses (a->lost says whether it still is); -EAGAIN while
 * undecided; or -errno of the last address when none has taken us.
 */
int mb_attempt_go_on(struct mb_attempt *a, int *fd, bool wait, struct mb_addr *ret_local,
                     struct mb_addr *ret_remote);

#define MB_ATTEMPT_TEXT_MAX (NI_MAXHOST + MB_ADDR_LABEL_MAX)

/* What is tried, for a message: "localhost:80 (127.0.0.1:80)". */
void mb_attempt_describe(const struct mb_attempt *a, char ret_text[MB_ATTEMPT_TEXT_MAX]);

/*
 * Connects to a Unix socket.
 * wait  when the listener's queue is full; else that is -EAGAIN
 * Returns a descriptor, or -errno.
 */
int mb_connect_local(const struct mb_addr *addr, bool wait);

#endif
