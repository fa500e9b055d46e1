/* From which addresses the header of a proxy is believed: a list of networks as text. */
#ifndef MB_PROXY_TRUST_H
#define MB_PROXY_TRUST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"

/*
 * Looks for the first entry of a list that is none. A list is addresses and networks
 * (ADDRESS/BITS), separated by commas: "10.0.0.0/8,192.0.2.1,2001:db8::/32". Bits behind the prefix
 * have to be zero: "10.1.2.3/8" is most likely a slip.
 * Returns that entry, or NULL when the list is well-formed. An empty list is not.
 */
const char *mb_trust_find_wrong(const char *list);

/* The same for one entry, which must not have a comma. */
bool mb_trust_is_network(const char *entry);

/*
 * Whether an address is in one of the networks of a well-formed list. NULL stands for the addresses
 * of this machine alone, 127.0.0.0/8 and ::1. A Unix socket's peer is always trusted: the
 * permissions of its file say who may connect. IPv4 mapped into IPv6 counts as IPv4.
 */
bool mb_trust_contains(const char *list, const struct mb_addr *addr);

#endif
