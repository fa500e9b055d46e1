/* Files below a directory, for mb.static. See static_file.c. */
#ifndef MB_STATIC_FILE_H
#define MB_STATIC_FILE_H

#include <lua.h>

/* Functions of mb.static.core. */
int mb_static_root(lua_State *L);
int mb_static_open(lua_State *L);
int mb_static_read(lua_State *L);
int mb_static_list(lua_State *L);

#endif
