/* The attributes of the socket object, and its tostring. */
#ifndef MB_HANDLE_ATTR_H
#define MB_HANDLE_ATTR_H

#include <lua.h>

#include "state/object.h"

extern const struct mb_attribute mb_handle_attributes[];

/* __tostring(socket) */
int mb_handle_tostring(lua_State *L);

#endif
