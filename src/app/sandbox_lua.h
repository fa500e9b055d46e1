/* Lua's own functions for files and programs in a process that has locked itself. */
#ifndef MB_SANDBOX_LUA_H
#define MB_SANDBOX_LUA_H

#include <lua.h>

#include "sandbox/sandbox.h"

/*
 * Replaces them by ones that do the same, and tell of what the sandbox has refused. What a module in C calls by itself
 * is not seen. May throw.
 */
void mb_sandbox_lua_open(lua_State *L, const struct mb_sandbox *sandbox);

/*
 * Does so for libraries that were opened later; nothing before the process has locked itself. May throw.
 * opened  their bits, see state/libraries.h
 */
void mb_sandbox_lua_add(lua_State *L, unsigned opened);

#endif
