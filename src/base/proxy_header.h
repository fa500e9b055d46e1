/*
 * Reads the header that a proxy puts in front of a connection to say who the client is: PROXY
 * protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt). Takes bytes, gives addresses; uses
 * no Lua and does no I/O.
 */
#ifndef MB_PROXY_HEADER_H
#define MB_PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"

/*
 * The most bytes that a header may have. Version 1 has at most 107 (section 2.1). Version 2 needs 232
 * for the addresses of Unix sockets; the rest is for what a proxy may add, such as the name in a
 * client certificate. The format allows 64 KiB; no proxy that we know of sends as much as 1 KiB.
 */
#define MB_PROXY_HEADER_MAX 4096

struct mb_proxy_header {
  bool has_addresses; /* false: the connection is the proxy's own, or it has no known client */
  struct mb_addr source, destination; /* the client's, and the address that it connected to */
};

/*
 * Reads the header at the beginning of the data.
 * Returns the size of the header, above 0, and fills ret; 0 when the data is a part of a header only;
 * -EPROTO when the data does not begin with a header; -EBADMSG when the header is malformed.
 * ret_wrong says what is wrong.
 */
int mb_proxy_header_parse(const void *data, size_t size, struct mb_proxy_header *ret,
                          const char **ret_wrong);

#endif
