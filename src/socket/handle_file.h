/* Sends a file over a handle. Its bytes do not pass through Lua. */
#ifndef MB_HANDLE_FILE_H
#define MB_HANDLE_FILE_H

#include <lauxlib.h>

/* Functions of mb.http.core; see handle_file.c. */
int mb_handle_open_file(lua_State *L);
int mb_handle_file_size(lua_State *L);
int mb_handle_send_file(lua_State *L);

/* Pushes a Lua file that is closed. Lua's library io has to be open (state/libraries.h). May throw. */
luaL_Stream *mb_handle_new_file(lua_State *L);

/*
 * Opens a file of mb_handle_new_file with a descriptor, which belongs to it from now on.
 * Returns 0; or -errno, and the descriptor is closed.
 */
int mb_handle_file_take(luaL_Stream *stream, int fd);

#endif
