/* Addresses in the form in which mb.tarantool's callers write and read them. */
#ifndef MB_TARANTOOL_ADDRESS_H
#define MB_TARANTOOL_ADDRESS_H

#include <lua.h>

#include "base/addr.h"

/*
 * Reads (host, port) from `index` on, without asking any name server: an IPv4 or IPv6 address and a port;
 * "unix/" and a path; or 0, which means all interfaces, and a port. A missing port is 0.
 * family  of the socket that the address is for
 * Returns 0; -EINVAL when the arguments are none of those; -EAFNOSUPPORT when the address has another family;
 * -ENAMETOOLONG. Throws when an argument has the wrong type.
 */
int mb_tarantool_check_address(lua_State *L, int index, int family, struct mb_addr *ret);

/*
 * Pushes a table: host, family, port. A Unix socket's host is "unix/", and its path is the port. Pushes nil
 * when there is no address.
 * unmap  true: writes a mapped IPv4 address as IPv4
 */
void mb_tarantool_push_address(lua_State *L, const struct mb_addr *addr, bool unmap);

/* Sets the fields type and protocol of the table on top of the stack. */
void mb_tarantool_set_kind(lua_State *L, int type, int protocol);

/*
 * core.getaddrinfo(host, port, hints)
 * hints  nil, or a table with family, type, protocol: names or numbers; flags: a name, a number, or a
 *        table of names
 * Returns an array of tables with host, port, family, type, protocol, and canonname if the hints ask for it;
 * or nil, a number of errno(7), and a message.
 * Source: reference, "Domain Name Resolution".
 */
int mb_tarantool_getaddrinfo(lua_State *L);

struct mb_tarantool_name;

/*
 * Reads flags at an index: nil, a number, a name, an array of names, or a table {NAME = true}.
 * Returns 0, or -EINVAL for a name that is not in `table`. Throws when the type is wrong.
 */
int mb_tarantool_check_flags(lua_State *L, int index, const struct mb_tarantool_name *table,
                             int *ret_flags);

/* Reads a number or a name at an index; nil is 0. Returns 0 or -EINVAL. Throws when the type is wrong. */
int mb_tarantool_check_number(lua_State *L, int index, const struct mb_tarantool_name *table,
                              int *ret_number);

/* Does the same for a protocol. */
int mb_tarantool_check_protocol(lua_State *L, int index, int *ret_number);

#endif
