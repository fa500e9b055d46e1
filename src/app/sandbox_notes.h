/* Logs what a sandbox has refused, with the wish that would allow it. */
#ifndef MB_SANDBOX_NOTES_H
#define MB_SANDBOX_NOTES_H

#include <lua.h>

#include "sandbox/sandbox.h"

/*
 * From here on, each refusal that Lua's own functions or ours meet is logged, each path, port or program once. The process
 * has locked itself. May throw.
 */
void mb_sandbox_notes_open(lua_State *L, const struct mb_sandbox *sandbox);

#endif
