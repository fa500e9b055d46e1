/* Compares a listener's host or path with the local address of a connection. */
#ifndef MB_MATCH_H
#define MB_MATCH_H

#include <stdbool.h>

#include "base/addr.h"

enum mb_match {
  MB_MATCH_NO,
  MB_MATCH_YES,
  MB_MATCH_NAME, /* the host is no address: mb_match_name decides */
};

/*
 * Compares a host, written as an address, with a local address. "::" means every address, "0.0.0.0"
 * every IPv4 address; otherwise see mb_match_address. The interface that a scope names is looked for
 * at each call: one that is not there matches nothing.
 * fd  the connection, or below 0: see mb_addr_from_text
 */
enum mb_match mb_match_host(const char *host, const struct mb_addr *local, int fd);

/*
 * Returns whether two addresses are the same except for their ports. An IPv4 address and the same
 * address mapped into IPv6 are the same. A wanted address without a scope is the same as the local
 * address with any scope; one with a scope needs that scope.
 */
bool mb_match_address(const struct mb_addr *wanted, const struct mb_addr *local);

/*
 * Looks a host name up, and returns whether one of its addresses is the local address. This may take
 * long: it may ask the DNS.
 */
bool mb_match_name(const char *host, const struct mb_addr *local);

/*
 * Compares a path ("@name" for an abstract socket) with that of a Unix socket. Another path to the
 * same file matches too.
 */
bool mb_match_path(const char *wanted, const struct mb_addr *local);

#endif
