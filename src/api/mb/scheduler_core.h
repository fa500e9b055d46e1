/* What mb.scheduler asks of the system: which of many things are ready. */
#ifndef MB_SCHEDULER_CORE_H
#define MB_SCHEDULER_CORE_H

#include <lua.h>

/* The module mb.scheduler.core. */
int mb_scheduler_core_open(lua_State *L);

#endif
