/*
 * The header that a proxy puts in front of a connection, to say who the client is: PROXY protocol,
 * versions 1 and 2 (haproxy.org, proxy-protocol.txt). Bytes in, addresses out; no Lua, no I/O.
 */
#ifndef MB_PROXY_HEADER_H
#define MB_PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"

/*
 * What a header may take. Version 1 has at most 107 bytes (section 2.1); of version 2 the addresses
 * of Unix sockets take 232, and the rest is for what a proxy may add, such as a client certificate's
 * name. The format allows 64 KiB; none of those we know of sends as much as 1.
 */
#define MB_PROXY_HEADER_MAX 4096

struct mb_proxy_header {
  bool has_addresses; /* false: the connection is the proxy's own, or it does not know the client */
  struct mb_addr source, destination; /* the client's, and the address that it connected to */
};

/*
 * Reads a header at the beginning of the data.
 * Returns its size, above 0, and fills ret; 0 when the data is the beginning of a header; -EPROTO
 * when it begins with no header, -EBADMSG when the header is malformed (ret_wrong says in what).
 */
int mb_proxy_header_parse(const void *data, size_t size, struct mb_proxy_header *ret,
                          const char **ret_wrong);

#endif
