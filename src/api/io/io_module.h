/* moonbridge_io: connections, listeners, polling and child processes, as a Lua module. */
#ifndef MB_IO_MODULE_H
#define MB_IO_MODULE_H

#include <lua.h>

/* Sets the global moonbridge_io, and what require "moonbridge_io" returns. May throw. */
void mb_io_open(lua_State *L);

#endif
