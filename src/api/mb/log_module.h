/* The module mb.log: a script's own messages, with a level. */
#ifndef MB_LOG_MODULE_H
#define MB_LOG_MODULE_H

#include <lua.h>

/* Pushes the module: error(text), warning(text), notice(text), info(text), debug(text). */
int mb_log_module_open(lua_State *L);

#endif
