/* The header of a proxy in front of a connection: reads it, and gives the handle its addresses. */
#ifndef MB_HANDLE_PROXY_H
#define MB_HANDLE_PROXY_H

#include <lua.h>
#include <stdbool.h>

#include "base/exits.h"

/*
 * Takes the header (proxy_header.h) off the connection of the handle on top of the stack: from then
 * on its addresses are those that the proxy has named. A connection without one, with a malformed
 * one, or from a source that is not trusted is reset; that is logged, and no failure of ours. A replay
 * may have a header, and need not.
 * trust     from whom a header is believed: see mb_trust_contains
 * ret_exit  the exit status, when it returns false: there is nothing to serve
 */
bool mb_handle_take_proxy_header(lua_State *L, const char *trust, enum mb_exit *ret_exit);

#endif
