/* Header fields as a list that keeps their order, for interfaces that give such lists to the script. */
#ifndef MB_HTTP_LIST_H
#define MB_HTTP_LIST_H

#include <lua.h>

/* Method of the input object, and function of the module's table; see http_list.c. */
int mb_http_input_list(lua_State *L);
int mb_http_list_lines(lua_State *L);

#endif
