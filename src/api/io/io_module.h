/* moonbridge_io: connections, listeners, polling and child processes, as a Lua module. */
#ifndef MB_IO_MODULE_H
#define MB_IO_MODULE_H

#include <lua.h>

/* Makes the module known as the global moonbridge_io and to require "moonbridge_io". May throw. */
void mb_io_open(lua_State *L);

#endif
