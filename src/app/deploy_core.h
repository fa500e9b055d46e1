/* The module mb.deploy.core: system calls for the Lua modules of --units, --inetd and --xinetd. */
#ifndef MB_DEPLOY_CORE_H
#define MB_DEPLOY_CORE_H

#include <lua.h>

/* Pushes the module's table (a lua_CFunction for require). */
int mb_deploy_core_open(lua_State *L);

#endif
