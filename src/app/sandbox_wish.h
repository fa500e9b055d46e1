/* The field sandbox of listen{}: what its text or table wishes. */
#ifndef MB_SANDBOX_WISH_H
#define MB_SANDBOX_WISH_H

#include <lua.h>

#include "sandbox/sandbox.h"

/* The wishes of sandbox = "strict": none. */
extern const struct mb_sandbox mb_sandbox_strict;

/*
 * Checks the value on top of the stack. Returns NULL, or what is expected in its place. Throws an error about a wish, which
 * it names with what is expected and what was found; so it does for a path that does not exist.
 */
const char *mb_sandbox_wish_check(lua_State *L);

/* Pops the value, which was checked. Returns the wishes, which live as long as the Lua state. */
const struct mb_sandbox *mb_sandbox_wish_take(lua_State *L);

#endif
