/* moonbridge_io.poll, and SIGTERM, the one signal that it can wait for; rows in io_module.c's table. */
#ifndef MB_IO_POLL_H
#define MB_IO_POLL_H

#include <lua.h>

int mb_io_catch_sigterm(lua_State *L);
int mb_io_poll(lua_State *L);

#endif
