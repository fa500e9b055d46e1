/* Loads a script's text. */
#ifndef MB_SOURCE_H
#define MB_SOURCE_H

#include <lua.h>

/*
 * Loads a file as luaL_loadfile does, with fewer system calls and less memory than by a stream, and opens the libraries
 * that its text can reach (state/libraries.h). May throw when memory runs out.
 * Returns what luaL_loadfile does: LUA_OK, with the chunk on the stack; or another status, with a message.
 */
int mb_source_load(lua_State *L, const char *path);

#endif
