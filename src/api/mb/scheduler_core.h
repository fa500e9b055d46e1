/* Tells mb.scheduler which of many objects are ready. */
#ifndef MB_SCHEDULER_CORE_H
#define MB_SCHEDULER_CORE_H

#include <lua.h>

/* Pushes the module mb.scheduler.core. */
int mb_scheduler_core_open(lua_State *L);

#endif
