/* Addresses as LuaSocket takes and gives them: host and port as text, and the family's name. */
#ifndef MB_LUASOCKET_ADDRESS_H
#define MB_LUASOCKET_ADDRESS_H

#include <lua.h>
#include <netdb.h>
#include <stdbool.h>

/*
 * Looks up a host and a port.
 * host     "*": every address when passive, otherwise this host
 * family   AF_UNSPEC: any
 * passive  true: the address is for bind(2)
 * Returns NULL, or a message. The caller frees the list.
 */
const char *mb_luasocket_resolve(const char *host, const char *port, int family, bool passive,
                                 struct addrinfo **ret);

/* Opens a TCP socket that never blocks. Returns a descriptor or -errno. */
int mb_luasocket_open_socket(lua_State *L, int family);

#endif
