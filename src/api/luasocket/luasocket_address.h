/* Addresses as LuaSocket takes and gives them: host and port as text, and the family's name. */
#ifndef MB_LUASOCKET_ADDRESS_H
#define MB_LUASOCKET_ADDRESS_H

#include <lua.h>
#include <netdb.h>
#include <stdbool.h>

/*
 * Returns the port at an index as text: what luaL_checkstring returns, but without a fraction of zeros. A port that
 * was calculated is a float, whose text would be "80.0".
 */
const char *mb_luasocket_port(lua_State *L, int index);

/* Replaces the value at an index by its text, as mb_luasocket_port has it; leaves what is no text alone. */
void mb_luasocket_trim_port(lua_State *L, int index);

/* Returns whether a port is a number above 65535: getaddrinfo would take its value modulo 65536. */
bool mb_luasocket_is_out_of_range(const char *port);

/* Pushes the message of EAI_SERVICE with the port that is none, and returns it. */
const char *mb_luasocket_no_port(lua_State *L, const char *port);

/*
 * Looks up a host and a port.
 * host     "*": every address when passive, otherwise this host
 * family   AF_UNSPEC: any
 * passive  true: the address is for bind(2)
 * Returns NULL, or a message, which may be on the stack. The caller frees the list.
 */
const char *mb_luasocket_resolve(lua_State *L, const char *host, const char *port, int family,
                                 bool passive, struct addrinfo **ret);

/* Opens a TCP socket that never blocks. Returns a descriptor or -errno. */
int mb_luasocket_open_socket(lua_State *L, int family);

#endif
