/* The Lua state: its libraries, where require looks, and how errors become text. */
#ifndef MB_STATE_H
#define MB_STATE_H

#include <lua.h>

#include "base/alloc.h"

/* Makes a state whose memory is accounted for by alloc. Returns NULL when there is none. */
lua_State *mb_state_new(struct mb_alloc *alloc);

/*
 * Opens the standard libraries and puts the script's directory first into package.path. May throw.
 */
void mb_state_open(lua_State *L, const char *script);

/* What the state's memory, and that of the buffers of its handles, is accounted to. */
struct mb_alloc *mb_state_alloc(lua_State *L);

/*
 * Calls a function with its arguments, as lua_pcall does, with a traceback: returns LUA_OK, or
 * another status with one string, the message and traceback, on the stack in place of results.
 */
int mb_state_call(lua_State *L, int nargs, int nresults);

/*
 * Calls the function like lua_pcallk, with a message handler below it on the stack, keeping the
 * traceback of an error for mb_state_call, which would otherwise see only where it was thrown again.
 * For a C function that has to clean up and then throws the error on with mb_state_throw_on.
 */
int mb_state_pcall_keep(lua_State *L, int nargs, int nresults, lua_KFunction k);

/* Throws the error on top of the stack, which mb_state_pcall_keep has caught. */
int mb_state_throw_on(lua_State *L);

/*
 * Inserts coroutine.yield at an index: the _yield forms are the _call forms with it as the function.
 */
void mb_state_insert_yield(lua_State *L, int index);

/* Throws, naming the argument, when the value at index cannot be called. */
void mb_state_check_callable(lua_State *L, int index);

#endif
