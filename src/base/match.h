/* Whether a listener's host or path means the local address of a connection. */
#ifndef MB_MATCH_H
#define MB_MATCH_H

#include <stdbool.h>

#include "base/addr.h"

enum mb_match {
  MB_MATCH_NO,
  MB_MATCH_YES,
  MB_MATCH_NAME, /* host is no address: mb_match_name decides */
};

/*
 * Compares a host, written as an address, with a local address. "::" means every address, "0.0.0.0"
 * every IPv4 address; an IPv4 address and the same mapped into IPv6 are one.
 */
enum mb_match mb_match_host(const char *host, const struct mb_addr *local);

/* Whether two addresses are one but for their ports: an IPv4 address and the same mapped are. */
bool mb_match_address(const struct mb_addr *wanted, const struct mb_addr *local);

/*
 * Looks a host name up, and tells whether one of its addresses is the local address. Slow: may ask
 * the DNS.
 */
bool mb_match_name(const char *host, const struct mb_addr *local);

/*
 * Compares a path ("@name" for an abstract one) with a Unix socket's; another path to the same file
 * matches.
 */
bool mb_match_path(const char *wanted, const struct mb_addr *local);

#endif
