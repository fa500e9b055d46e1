/* Reads the header of a proxy in front of a connection, and gives the handle the addresses in it. */
#ifndef MB_HANDLE_PROXY_H
#define MB_HANDLE_PROXY_H

#include <lua.h>

enum mb_proxy_outcome {
  MB_PROXY_NAMED,   /* the handle has the addresses that the proxy named */
  MB_PROXY_UNNAMED, /* the handle keeps its own: the header says so, or a replay has none */
  MB_PROXY_REFUSED, /* the connection was reset; the log says why */
  MB_PROXY_THREW,   /* the connection was reset after an error of ours, which is on the stack */
};

/*
 * Takes the header (proxy_header.h) off the connection of the handle on top of the stack. Refuses a
 * connection without one, with a malformed one, or from a source that is not trusted: that is no failure
 * of ours. A replay need not have a header.
 * trust  the sources whose header is believed; see mb_trust_contains
 */
enum mb_proxy_outcome mb_handle_take_proxy_header(lua_State *L, const char *trust);

#endif
