/* The Lua state: its libraries, where require looks, and how errors become text. */
#ifndef MB_STATE_H
#define MB_STATE_H

#include <lua.h>
#include <stdbool.h>

#include "base/alloc.h"
#include "base/buf.h"

/* Metatables that are compared in every call of a method: by address, which is cheaper than by name. */
enum mb_type {
  MB_TYPE_HANDLE,
  MB_TYPE_LUASOCKET_MASTER,
  MB_TYPE_LUASOCKET_CLIENT,
  MB_TYPE_LUASOCKET_SERVER,
  MB_TYPES,
};

/* What C knows of one Lua state. It lives as long as the state, and two states share nothing. */
struct mb_state {
  struct mb_alloc alloc; /* accounts for the state's memory, and for that of its handles' buffers */
  const void *types[MB_TYPES]; /* NULL: no metatable yet */
  lua_CFunction kept_by;       /* throws the error on that mb_state_pcall_keep has kept */
};

/*
 * Makes a Lua state.
 * state  the caller's, with the limit of alloc set and all else zero
 * Returns NULL when memory has run out.
 */
lua_State *mb_state_new(struct mb_state *state);

/* Returns what was given to mb_state_new, from any coroutine of the state. */
static inline struct mb_state *mb_state_of(lua_State *L) {
  return *(struct mb_state **)lua_getextraspace(L);
}

/*
 * Opens the standard libraries and puts the script's directory first into package.path. May throw.
 */
void mb_state_open(lua_State *L, const char *script);

/* Returns the accounts of the state's memory. */
static inline struct mb_alloc *mb_state_alloc(lua_State *L) { return &mb_state_of(L)->alloc; }

/*
 * Returns whether a call that has failed with r is worth another try: it lacked descriptors, and garbage,
 * which may hold some, was collected. The script's finalizers have run then: what the caller knew of its
 * objects may have changed.
 */
bool mb_state_made_room(lua_State *L, int r);

/* Throws Lua's "not enough memory". */
_Noreturn void mb_state_no_memory(lua_State *L);

/*
 * Makes room for so many more bytes in a buffer (mb_buf_reserve). Collects garbage when memory runs out,
 * and throws when that does not help.
 * Returns whether garbage was collected: see mb_state_made_room.
 */
bool mb_state_reserve(lua_State *L, struct mb_buf *b, size_t room);

/*
 * Allocates or resizes a block of the state's memory (mb_alloc) in the same way.
 * *ret_collected  whether garbage was collected
 */
void *mb_state_block(lua_State *L, void *block, size_t osize, size_t nsize, bool *ret_collected);

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
