/* The Lua state. Must never end the process by itself, except in a panic, which is a fault of ours. */
#include "state/state.h"

#include <errno.h>
#include <lauxlib.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/exits.h"
#include "base/log.h"
#include "state/error_text.h"
#include "state/libraries.h"

/* How much a script may allocate before the garbage collector begins to work. */
#define COLLECT_FROM_KIBIBYTES 256

/*
 * The collector's pause, in per cent: Lua's own, and that of a process that serves many connections. All that an object
 * with a finalizer refers to outlives one more collection. Nearly all garbage of a connection is such, so that with
 * Lua's pause the heap of a small script was measured to grow from 60 KiB to 1400, and with this one to 270.
 */
enum { LUAS_PAUSE = 200, MANY_CONNECTIONS_PAUSE = 100 };

/* Their addresses are keys of the registry. */
static char kept_error, kept_traceback;

static int panic(lua_State *L) {
  const char *message = lua_tostring(L, -1);
  mb_log(LOG_ERR, "error outside of any protection: %s", message ? message : "(no message)");
  _exit(MB_EXIT_HANDLER);
}

lua_State *mb_state_new(struct mb_state *state) {
  lua_State *L = lua_newstate(mb_alloc, &state->alloc);
  if (!L) return NULL;
  *(struct mb_state **)lua_getextraspace(L) = state;
  lua_atpanic(L, panic);
  /* Before a script runs there is hardly any garbage. */
  lua_gc(L, LUA_GCSTOP, 0);
  return L;
}

/* ---- the end ---- */

static bool keeps_memory;

void mb_state_keep_memory(void) {
#ifndef __SANITIZE_ADDRESS__ /* which would call that a leak */
  keeps_memory = true;
#endif
}

/* The finalizer that runs last, as its object was the first to get one. The memory would be freed after it. */
static int leave(lua_State *L) {
  jmp_buf *to = mb_state_of(L)->leave;
  if (to) longjmp(*to, 1);
  return 0;
}

static void set_last_finalizer(lua_State *L) {
  lua_newuserdata(L, 0);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, leave);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  luaL_ref(L, LUA_REGISTRYINDEX); /* no collection finalizes it */
}

/* By this a tool that looks for leaks finds the memory. */
static lua_State *ended __attribute__((used));

void *mb_state_new_anchored(lua_State *L, size_t size) {
  void *block = lua_newuserdata(L, size);
  memset(block, 0, size);
  luaL_ref(L, LUA_REGISTRYINDEX);
  return block;
}

void mb_state_close(lua_State *L) {
  jmp_buf after;
  if (!keeps_memory) {
    lua_close(L);
    return;
  }
  ended = L;
  mb_state_of(L)->leave = &after;
  if (setjmp(after) == 0) lua_close(L);
}

int mb_state_collect(lua_State *L) {
  /* What has a finalizer is freed by the second collection. */
  lua_gc(L, LUA_GCCOLLECT, 0);
  lua_gc(L, LUA_GCCOLLECT, 0);
  lua_gc(L, LUA_GCSTEP, -COLLECT_FROM_KIBIBYTES);
  return 0;
}

/*
 * The script's own modules are in its directory, and a service is started in "/", where "./?.lua" does not find
 * them.
 */
void mb_state_add_directory(lua_State *L, const char *script, bool last) {
  const char *slash = strrchr(script, '/');
  if (!slash) return;
  /* package.path has no way to write a name with ";" or "?" in it. */
  size_t len = slash == script ? 1 : (size_t)(slash - script);
  if (memchr(script, ';', len) || memchr(script, '?', len)) return;
  lua_getglobal(L, "package");
  lua_pushlstring(L, script, len);
  lua_getfield(L, -2, "path");
  const char *directory = lua_tostring(L, -2);
  const char *path = lua_tostring(L, -1);
  if (!path) path = "";
  if (last) {
    lua_pushfstring(L, "%s;%s/?.lua;%s/?/init.lua", path, directory, directory);
  } else {
    lua_pushfstring(L, "%s/?.lua;%s/?/init.lua;%s", directory, directory, path);
  }
  lua_setfield(L, -4, "path");
  lua_pop(L, 3);
}

void mb_state_open(lua_State *L, const char *script) {
  mb_state_of(L)->script = script;
  set_last_finalizer(L);
  mb_libraries_begin(L);
  mb_state_add_directory(L, script, mb_state_of(L)->installed_first);
  lua_gc(L, LUA_GCRESTART, 0);
  /*
   * A step of a negative size makes the collector wait: most connections end before it has anything to
   * do. If memory is limited, it also runs when an allocation fails.
   */
  lua_gc(L, LUA_GCSTEP, -COLLECT_FROM_KIBIBYTES);
}

int mb_state_settle(lua_State *L) {
  int pause = lua_gc(L, LUA_GCSETPAUSE, MANY_CONNECTIONS_PAUSE);
  if (pause != LUAS_PAUSE) lua_gc(L, LUA_GCSETPAUSE, pause);
  return mb_state_collect(L);
}

bool mb_state_made_room(lua_State *L, int r) {
  if (r != -EMFILE && r != -ENFILE) return false;
  lua_gc(L, LUA_GCCOLLECT, 0);
  return true;
}

int mb_state_drop_holders(lua_State *L) {
  int status = LUA_OK;
  if (mb_state_has_new_holders(L)) {
    lua_pushcfunction(L, mb_state_collect);
    status = mb_state_call(L, 0, 0);
  }
  mb_state_of(L)->holders = mb_state_alloc(L)->holders;
  return status;
}

_Noreturn void mb_state_no_memory(lua_State *L) {
  luaL_error(L, "not enough memory");
  abort(); /* not reached: luaL_error does not return */
}

bool mb_state_reserve(lua_State *L, struct mb_buf *b, size_t room) {
  struct mb_alloc *alloc = mb_state_alloc(L);
  if (mb_buf_reserve(b, alloc, room) == 0) return false;
  lua_gc(L, LUA_GCCOLLECT, 0);
  if (mb_buf_reserve(b, alloc, room) < 0) mb_state_no_memory(L);
  return true;
}

/* Returns whether the block has its new size. */
static bool resize(struct mb_alloc *alloc, void **block, size_t *size, size_t nsize) {
  void *resized = mb_alloc(alloc, *block, *size, nsize);
  if (!resized) return false;
  *block = resized;
  *size = nsize;
  return true;
}

bool mb_state_block(lua_State *L, void **block, size_t *size, size_t nsize) {
  struct mb_alloc *alloc = mb_state_alloc(L);
  if (resize(alloc, block, size, nsize)) return false;
  lua_gc(L, LUA_GCCOLLECT, 0);
  if (!resize(alloc, block, size, nsize)) mb_state_no_memory(L);
  return true;
}

void mb_state_check_callable(lua_State *L, int index) {
  if (lua_isfunction(L, index)) return;
  if (luaL_getmetafield(L, index, "__call") == LUA_TNIL) luaL_checktype(L, index, LUA_TFUNCTION);
  lua_pop(L, 1);
}

void mb_state_insert_yield(lua_State *L, int index) {
  luaL_checkany(L, index - 1);
  mb_libraries_open(L, MB_LIBRARY_COROUTINE);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, "coroutine");
  lua_getfield(L, -1, "yield");
  lua_insert(L, index);
  lua_pop(L, 2);
}

/*
 * Returns, in a message handler, whether the caller of mb_state_pcall_keep is throwing on the error at
 * index 1, whose traceback was kept. Pushes that traceback then.
 */
static bool push_kept(lua_State *L) {
  /* Another error may have the same string as its message, but it is not thrown by that caller. */
  lua_Debug thrower;
  lua_CFunction kept_by = mb_state_of(L)->kept_by;
  if (!kept_by || !lua_getstack(L, 1, &thrower)) return false;
  lua_getinfo(L, "f", &thrower);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_error);
  bool kept = lua_tocfunction(L, -2) == kept_by && lua_rawequal(L, 1, -1);
  lua_pop(L, 2);
  if (kept) lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_traceback);
  return kept;
}

static void set_kept(lua_State *L) {
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kept_traceback);
  lua_pushvalue(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kept_error);
}

/* Returns whether a line of a traceback is for our code: Lua without names and lines, or C functions. */
static bool is_ours(const char *frame, bool last) {
  static const char *const begins[] = {"\t?: in ", "\t[C]: in ?", "\t[C]: in function 'mb."};
  for (size_t i = 0; i < sizeof begins / sizeof *begins; i++) {
    if (strncmp(frame, begins[i], strlen(begins[i])) == 0) return true;
  }
  return last && strcmp(frame, "\t(...tail calls...)") == 0;
}

/*
 * Returns whether a line of a traceback names a place in a script. "..." alone stands for levels that are left out;
 * in a long path it stands for the begin.
 */
static bool is_of_script(const char *frame) {
  return *frame == '\t' && strncmp(frame, "\t[C]: ", 6) != 0 && strncmp(frame, "\t(...", 5) != 0 &&
         strncmp(frame, "\t...\n", 5) != 0;
}

/*
 * Pushes a traceback without the frames that say nothing to the author of a script. A line end stands
 * in front. Pushes an empty string when no frame of a script is left.
 */
static void push_without_ours(lua_State *L, const char *traceback) {
  bool tells = false;
  luaL_Buffer kept;
  luaL_buffinit(L, &kept);
  luaL_addchar(&kept, '\n');
  while (*traceback) {
    size_t size = strcspn(traceback, "\n");
    if (traceback[size] == '\n') size++;
    bool last = traceback[size] == '\0';
    if (!is_ours(traceback, last)) {
      luaL_addlstring(&kept, traceback, size);
      tells = tells || is_of_script(traceback);
    }
    traceback += size;
  }
  luaL_pushresult(&kept);
  if (tells) return;
  lua_pop(L, 1);
  lua_pushliteral(L, "");
}

/* Pushes the line of the script that runs, as "app.lua:3: "; an empty string when none is known. */
static void push_place(lua_State *L) {
  lua_Debug ar;
  for (int level = 1; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sl", &ar);
    if (ar.currentline <= 0) continue; /* ours, or C */
    lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
    return;
  }
  lua_pushliteral(L, "");
}

/* Message handler: makes a text of the error and its traceback. */
static int with_traceback(lua_State *L) {
  lua_settop(L, 1);
  mb_error_text_push(L, 1);
  if (lua_istable(L, 1)) { /* to a string error() has added it */
    push_place(L);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  if (!push_kept(L)) luaL_traceback(L, L, NULL, 1);
  push_without_ours(L, lua_tostring(L, -1));
  lua_remove(L, -2);
  lua_concat(L, 2);
  return 1;
}

int mb_state_call(lua_State *L, int nargs, int nresults) {
  int base = lua_gettop(L) - nargs;
  lua_pushcfunction(L, with_traceback);
  lua_insert(L, base);
  int status = lua_pcall(L, nargs, nresults, base);
  lua_remove(L, base);
  /* When memory has run out, Lua may give no string. */
  if (status != LUA_OK && lua_type(L, -1) != LUA_TSTRING) {
    lua_pop(L, 1);
    lua_pushliteral(L, "error while handling an error");
  }
  return status;
}

/* Message handler: keeps the traceback, and returns the error as it is. */
static int keep_traceback(lua_State *L) {
  lua_settop(L, 1);
  if (!push_kept(L)) {
    luaL_traceback(L, L, NULL, 1);
    set_kept(L);
  }
  lua_settop(L, 1);
  return 1;
}

void mb_state_rename_kept(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_error);
  bool kept = lua_rawequal(L, -1, -3);
  lua_pop(L, 1);
  if (!kept) return;
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kept_error);
}

void mb_state_push_error(lua_State *L, int index, int text) {
  mb_error_text_push(L, lua_isnil(L, text) ? index : text);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_error);
  bool kept = lua_rawequal(L, -1, index);
  lua_pop(L, 1);
  if (!kept) return;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_traceback);
  push_without_ours(L, lua_tostring(L, -1));
  lua_remove(L, -2);
  lua_concat(L, 2);
}

int mb_state_throw_on(lua_State *L) {
  lua_Debug self;
  lua_getstack(L, 0, &self);
  lua_getinfo(L, "f", &self);
  mb_state_of(L)->kept_by = lua_tocfunction(L, -1);
  lua_pop(L, 1);
  return lua_error(L);
}

int mb_state_pcall_keep(lua_State *L, int nargs, int nresults, lua_KFunction k) {
  int base = lua_gettop(L) - nargs;
  lua_pushcfunction(L, keep_traceback);
  lua_insert(L, base);
  return lua_pcallk(L, nargs, nresults, base, 0, k);
}
