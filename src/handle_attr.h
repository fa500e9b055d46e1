/* What socket.NAME is: fields the script has set, methods, addresses. */
#ifndef MB_HANDLE_ATTR_H
#define MB_HANDLE_ATTR_H

#include <lua.h>

/*
 * Takes the table of methods from the top of the stack and sets __index and so on in the metatable
 * below it.
 */
void mb_handle_set_attributes(lua_State *L);

#endif
