/* Sends a file over a handle. Its bytes do not pass through Lua. */
#ifndef MB_HANDLE_FILE_H
#define MB_HANDLE_FILE_H

#include <lua.h>

/* Functions of mb.http.core; see handle_file.c. */
int mb_handle_open_file(lua_State *L);
int mb_handle_file_size(lua_State *L);
int mb_handle_send_file(lua_State *L);

#endif
