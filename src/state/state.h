/* The Lua state: its libraries, where require looks, and how errors become text. */
#ifndef MB_STATE_H
#define MB_STATE_H

#include <lua.h>
#include <stdbool.h>

#include "base/alloc.h"
#include "base/buf.h"

/*
 * The types whose metatable every call of a method compares. It compares the address, which costs less
 * than a lookup of the name.
 */
enum mb_type {
  MB_TYPE_HANDLE,
  MB_TYPE_LUASOCKET_MASTER,
  MB_TYPE_LUASOCKET_CLIENT,
  MB_TYPE_LUASOCKET_SERVER,
  MB_TYPES,
};

/* The data of one Lua state that only C sees. It lives as long as the state; two states share nothing. */
struct mb_state {
  struct mb_alloc alloc; /* accounts for the memory of the state and of its handles' buffers */
  const void *types[MB_TYPES]; /* NULL: no metatable yet */
  lua_CFunction kept_by;       /* throws on the error that mb_state_pcall_keep has kept */
  const char *script;          /* its path; NULL until mb_state_open */
  void *leave; /* where mb_state_close goes on after the last finalizer; NULL: nowhere */
  size_t
      holders; /* objects that held something after mb_state_drop_holders was called: see mb_alloc_note */
  bool installed_first; /* mb_state_open puts the script's directory last into package.path */
  unsigned libraries;   /* those of state/libraries.h that are open */
  /* Called after libraries were opened, with their bits; or NULL. May throw, and is called again then. */
  void (*libraries_opened)(lua_State *L, unsigned opened);
};

/*
 * Makes a Lua state.
 * state  belongs to the caller, who has set installed_first and the limit of alloc and left everything else
 *        zero
 * Returns NULL when memory has run out.
 */
lua_State *mb_state_new(struct mb_state *state);

/*
 * From now on mb_state_close runs the finalizers and leaves the memory to the system: the process ends soon after its
 * state, and to free each object takes a tenth of its whole time.
 */
void mb_state_keep_memory(void);

/* Ends a state, and runs the finalizers of its objects. L may be any coroutine of it, and is not used again. */
void mb_state_close(lua_State *L);

/*
 * A function for Lua: collects all garbage, also what finalizers have kept for a while. Then the collector rests for a
 * while, as it does at the beginning. May throw what a finalizer throws.
 */
int mb_state_collect(lua_State *L);

/* Returns the struct that was given to mb_state_new. L may be any coroutine of the state. */
static inline struct mb_state *mb_state_of(lua_State *L) {
  return *(struct mb_state **)lua_getextraspace(L);
}

/*
 * Opens the standard libraries that are there from the beginning (state/libraries.h), and puts the script's directory
 * into package.path. May throw. script  its path, which has to live as long as the state
 */
void mb_state_open(lua_State *L, const char *script);

/* Puts the directory of a script into package.path: first, or last. May throw. */
void mb_state_add_directory(lua_State *L, const char *script, bool last);

/* Returns a block of zeros that lives as long as the Lua state. May throw. */
void *mb_state_new_anchored(lua_State *L, size_t size);

/* Returns the accounts of the state's memory. */
static inline struct mb_alloc *mb_state_alloc(lua_State *L) { return &mb_state_of(L)->alloc; }

/*
 * A function for Lua: prepares a loaded state for processes that are copies of this one and serve many connections
 * each: they begin without garbage, and keep less of it. The pause of the collector stays as it is where the script
 * has set one. May throw what a finalizer throws.
 */
int mb_state_settle(lua_State *L);

/*
 * Makes room after a call that has failed with r: when it lacked descriptors, collects garbage, which may
 * hold some.
 * Returns whether garbage was collected, so that the call is worth another try. The script's finalizers
 * have run then, and may have closed objects that the caller uses.
 */
bool mb_state_made_room(lua_State *L, int r);

/* Returns whether mb_state_drop_holders would collect garbage. */
static inline bool mb_state_has_new_holders(lua_State *L) {
  return mb_state_alloc(L)->holders > mb_state_of(L)->holders;
}

/*
 * A connection has ended. Collects garbage when more objects hold something of the system than before, so that what
 * the script has dropped does not stay open for longer than its connection.
 * Returns LUA_OK; or another status with the error of a finalizer on the stack.
 */
int mb_state_drop_holders(lua_State *L);

/* Throws Lua's "not enough memory". */
_Noreturn void mb_state_no_memory(lua_State *L);

/*
 * Makes room for `room` more bytes in a buffer (mb_buf_reserve). Collects garbage when memory runs out,
 * and throws when that does not help.
 * Returns whether garbage was collected: see mb_state_made_room.
 */
bool mb_state_reserve(lua_State *L, struct mb_buf *b, size_t room);

/*
 * Resizes a block of the state's memory (mb_alloc) in the same way; *block may be NULL, and *size 0.
 * Reads both again after it has collected garbage, as a finalizer may have resized the block.
 */
bool mb_state_block(lua_State *L, void **block, size_t *size, size_t nsize);

/*
 * Calls a function with its arguments, as lua_pcall does.
 * Returns LUA_OK; or another status, with one string on the stack in place of the results: the message
 * and the traceback.
 */
int mb_state_call(lua_State *L, int nargs, int nresults);

/*
 * Calls a function as lua_pcallk does, for a C function that has to clean up after an error and then
 * throws it on with mb_state_throw_on. Keeps the traceback of the error for mb_state_call, which would
 * otherwise see only where the error was thrown on. Puts its message handler on the stack, below the
 * function.
 */
int mb_state_pcall_keep(lua_State *L, int nargs, int nresults, lua_KFunction k);

/*
 * Gives the kept traceback to another error: from now on it belongs to the one on top of the stack, in place
 * of the one below, which mb_state_pcall_keep has caught.
 */
void mb_state_rename_kept(lua_State *L);

/*
 * Pushes a text of the error at an index, with its traceback if mb_state_pcall_keep has caught it last. May throw.
 * text  the index of a text in the place of the error's own, or of nil
 */
void mb_state_push_error(lua_State *L, int index, int text);

/* Throws on the error on top of the stack, which mb_state_pcall_keep has caught. */
int mb_state_throw_on(lua_State *L);

/*
 * Inserts coroutine.yield at an index: each _yield function is the _call function with that as its
 * function.
 */
void mb_state_insert_yield(lua_State *L, int index);

/* Throws, naming the argument, when the value at index cannot be called. */
void mb_state_check_callable(lua_State *L, int index);

#endif
