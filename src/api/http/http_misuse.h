/* The module mb.http.misuse: the lines of a script's mistakes. */
#ifndef MB_HTTP_MISUSE_H
#define MB_HTTP_MISUSE_H

#include <lua.h>

/* Pushes the module: fail(text, callback), place(callback). */
int mb_http_misuse_open(lua_State *L);

#endif
