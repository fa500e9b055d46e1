/*
 * Opens connections. A name becomes addresses, and the first address that accepts us is the peer.
 * The lookup of a name may wait. The rest waits only where the caller asks for it.
 */
#ifndef MB_CONNECT_H
#define MB_CONNECT_H

#include <netdb.h>
#include <stdbool.h>

#include "base/alloc.h"
#include "base/addr.h"

/*
 * Looks up the TCP addresses of a host and port. For an address it asks no name server.
 * host, port  names or numbers; port must be in range when it is a number
 * passive     to listen there, not to connect
 * Returns 0, or an error code of getaddrinfo(3); EAI_SYSTEM with ENODEV when no interface has the name
 * in the host's scope. The caller frees the list.
 */
int mb_resolve(const char *host, const char *port, bool passive, struct addrinfo **ret);

/* An attempt to connect, to one address after the other. */
struct mb_attempt {
  struct addrinfo *addresses;
  const struct addrinfo *at; /* the one that is tried, or was tried last */
  int lost;                  /* errno of a connection that was made, and lost before we looked */
  size_t size;               /* of this block */
  char target[];             /* what the script asked for: "localhost:80" */
};

/* Makes an attempt without addresses. Returns NULL when memory runs out. */
struct mb_attempt *mb_attempt_new(struct mb_alloc *alloc, const char *target);

/* Gives the attempt its addresses, at least one. It owns the list from then on. */
void mb_attempt_set_addresses(struct mb_attempt *a, struct addrinfo *addresses);

/* Frees the attempt, which may be NULL. */
void mb_attempt_free(struct mb_attempt *a, struct mb_alloc *alloc);

/*
 * Starts to connect. Returns a descriptor, or -errno of the last address that was tried.
 */
int mb_attempt_start(struct mb_attempt *a);

/*
 * Finds out how the attempt stands, and goes on with the next address when one has refused.
 * fd    keeps its number; it is -1 afterwards when no socket for the next address could be made
 * wait  true: waits until it is decided
 * Returns 0 when connected, with both addresses (a->lost says whether the connection still is there);
 * -EAGAIN while undecided; or -errno of the last address when all have refused.
 */
int mb_attempt_go_on(struct mb_attempt *a, int *fd, bool wait, struct mb_addr *ret_local,
                     struct mb_addr *ret_remote);

#define MB_ATTEMPT_TEXT_MAX (NI_MAXHOST + MB_ADDR_LABEL_MAX)

/* Writes what is tried, for a message: "localhost:80 (127.0.0.1:80)". */
void mb_attempt_describe(const struct mb_attempt *a, char ret_text[MB_ATTEMPT_TEXT_MAX]);

/*
 * Connects to a Unix socket.
 * wait  true: waits while the listener's queue is full; false: returns -EAGAIN then
 * Returns a descriptor, or -errno.
 */
int mb_connect_local(const struct mb_addr *addr, bool wait);

#endif
