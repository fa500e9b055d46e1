/* Decides from which addresses the header of a proxy is believed. A list of networks says it. */
#ifndef MB_PROXY_TRUST_H
#define MB_PROXY_TRUST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"

/* An entry of a list: whoever connects to a Unix socket, as set_real_ip_from of nginx has it. */
#define MB_TRUST_UNIX "unix:"

/*
 * Looks for the first malformed entry of a list. A list has addresses and networks (ADDRESS/BITS),
 * separated by commas: "10.0.0.0/8,192.0.2.1,2001:db8::/32". Bits behind the prefix have to be zero:
 * "10.1.2.3/8" is most likely a slip. A link-local address may have a scope ("fe80::1%eth0",
 * "fe80::%eth0/64", as RFC 4007 section 11.7 writes it); whether the interface is there does not
 * matter here. An entry may also be MB_TRUST_UNIX.
 * Returns that entry, or NULL when the list is well-formed. An empty list is malformed.
 */
const char *mb_trust_find_wrong(const char *list);

/* Returns whether a text is one well-formed entry, without a comma. */
bool mb_trust_is_network(const char *entry);

/*
 * Returns whether an address is in one of the networks of a well-formed list. NULL stands for the
 * addresses of this machine alone, 127.0.0.0/8 and ::1. MB_TRUST_UNIX has all peers of Unix sockets. IPv4
 * mapped into IPv6 counts as IPv4. A network with a scope has addresses of that interface only; one without
 * a scope has those of all interfaces.
 * fd  the connection, or below 0: see mb_addr_from_text
 */
bool mb_trust_contains(const char *list, const struct mb_addr *addr, int fd);

/*
 * Returns whether every user of this machine may connect to a Unix socket: everybody may write to its file
 * and enter the directories on the way to it, unix(7); or it cannot be found out. A socket without a name
 * was handed over as it is: nobody can connect to it.
 * local  the socket's own address
 */
bool mb_trust_is_open(const struct mb_addr *local);

/*
 * Returns whether the peer of a Unix socket is root or the user of this process, who could change what a
 * handler is told anyway (SO_PEERCRED, unix(7)).
 * fd  the connection
 */
bool mb_trust_is_own_peer(int fd);

#endif
