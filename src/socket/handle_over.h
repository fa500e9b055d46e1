/*
 * Objects over a handle, such as a WebSocket: who waits for one waits for the handle. The userdata of such an object
 * begins with struct mb_over_handle.
 */
#ifndef MB_HANDLE_OVER_H
#define MB_HANDLE_OVER_H

#include "socket/handle.h"

struct mb_over_handle {
  struct mb_handle *handle; /* kept alive by the object */
};

/* Marks a metatable on top of the stack as one of such objects. May throw. */
void mb_handle_over_mark(lua_State *L);

/* Returns the handle at an index, or the one below the object there, or NULL when there is another value. */
struct mb_handle *mb_handle_below(lua_State *L, int index);

#endif
