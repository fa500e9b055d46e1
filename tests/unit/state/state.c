/*
 * src/state/state.c: a call that finds no memory, or no descriptor, collects garbage and tries again. The
 * script's finalizers run meanwhile, and may touch the very thing that the call is about.
 */
#include "state/libraries.h"
#include "state/state.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "../../lib/tap.h"

#define GARBAGE_BYTES 200000

/* More than what is free below the limit, and less than what the garbage gives back. */
#define WANTED_BYTES 100000

/* What finalizers and error messages may need beside that. */
#define SPARE_BYTES 8192

static lua_State *new_state(struct mb_state *state) {
  lua_State *L = mb_state_new(state);
  if (!L) tap_bail("no Lua state");
  mb_state_open(L, "test.lua");
  mb_libraries_open(L, MB_LIBRARIES_ALL);
  lua_gc(L, LUA_GCSTOP, 0); /* from here on garbage stays until a call needs room */
  return L;
}

static void run(lua_State *L, const char *script) {
  if (luaL_dostring(L, script) != LUA_OK) tap_bail(lua_tostring(L, -1));
}

/* Calls a C function and returns the message of its error; NULL: it has not thrown. */
static const char *error_of(lua_State *L, lua_CFunction f) {
  lua_settop(L, 0);
  lua_pushcfunction(L, f);
  return lua_pcall(L, 0, 0, 0) == LUA_OK ? NULL : lua_tostring(L, -1);
}

static void limit_to_what_is_used(struct mb_state *state) {
  state->alloc.limit = state->alloc.used + SPARE_BYTES;
}

static void make_garbage(lua_State *L) {
  luaL_Buffer garbage;
  memset(luaL_buffinitsize(L, &garbage, GARBAGE_BYTES), 'g', GARBAGE_BYTES);
  luaL_pushresultsize(&garbage, GARBAGE_BYTES);
  lua_settop(L, 0);
}

static bool finalized(lua_State *L) {
  lua_getglobal(L, "finalized");
  bool yes = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return yes;
}

static void add_finalizer(lua_State *L) {
  run(L, "finalized = false setmetatable({}, {__gc = function() finalized = true end})");
}

/* ---- mb_state_reserve ---- */

static struct mb_buf buf;
static bool collected;

static int reserve(lua_State *L) {
  collected = mb_state_reserve(L, &buf, WANTED_BYTES);
  return 0;
}

static void fill_buffer(lua_State *L, const char *text) {
  size_t room;
  mb_state_reserve(L, &buf, strlen(text));
  memcpy(mb_buf_room(&buf, &room), text, strlen(text));
  mb_buf_added(&buf, strlen(text));
}

static void reserves(void) {
  struct mb_state state = {.alloc.limit = 0};
  lua_State *L = new_state(&state);
  buf = MB_BUF_INIT;
  add_finalizer(L);
  tap_str(error_of(L, reserve), NULL, "a buffer gets room");
  tap_ok(!collected && !finalized(L), "without a collection");
  mb_buf_free(&buf, &state.alloc);

  fill_buffer(L, "kept");
  make_garbage(L);
  limit_to_what_is_used(&state);
  tap_str(error_of(L, reserve), NULL, "where memory is short, garbage makes room");
  tap_ok(collected, "the caller is told");
  tap_ok(finalized(L), "and finalizers have run");
  tap_ok(buf.capacity - buf.end >= WANTED_BYTES, "the room is there");
  tap_bytes(mb_buf_bytes(&buf), mb_buf_len(&buf), "kept", 4, "the bytes stay");
  tap_str(error_of(L, reserve), NULL, "what is there need not be made");
  tap_ok(!collected, "so nothing is collected");
  mb_buf_free(&buf, &state.alloc);

  fill_buffer(L, "kept");
  lua_gc(L, LUA_GCCOLLECT, 0);
  limit_to_what_is_used(&state);
  size_t capacity = buf.capacity;
  tap_str(error_of(L, reserve), "not enough memory", "it throws when garbage does not suffice");
  tap_int((long long)buf.capacity, (long long)capacity, "the buffer is as large as before");
  tap_bytes(mb_buf_bytes(&buf), mb_buf_len(&buf), "kept", 4, "and has its bytes");
  tap_ok(state.alloc.refused, "the log will name the limit");
  mb_buf_free(&buf, &state.alloc);
  lua_close(L);
  tap_int((long long)state.alloc.used, 0, "no memory is left over");
}

/* ---- mb_state_block ---- */

static void *block;
static size_t size;

static int enlarge(lua_State *L) {
  collected = mb_state_block(L, &block, &size, WANTED_BYTES);
  return 0;
}

static void blocks(void) {
  struct mb_state state = {.alloc.limit = 0};
  lua_State *L = new_state(&state);
  tap_ok(!mb_state_block(L, &block, &size, 100), "a new block, without a collection");
  tap_int((long long)size, 100, "its size");
  memset(block, 'b', size);
  add_finalizer(L);
  make_garbage(L);
  limit_to_what_is_used(&state);
  tap_str(error_of(L, enlarge), NULL, "where memory is short, garbage makes room");
  tap_ok(collected && finalized(L), "the caller is told");
  tap_int((long long)size, WANTED_BYTES, "the new size");
  tap_ok(((char *)block)[0] == 'b' && ((char *)block)[99] == 'b', "the bytes stay");
  tap_ok(!mb_state_block(L, &block, &size, 50), "a block shrinks at any limit");
  void *before = block;
  lua_gc(L, LUA_GCCOLLECT, 0);
  limit_to_what_is_used(&state);
  tap_str(error_of(L, enlarge), "not enough memory", "it throws when garbage does not suffice");
  tap_ok(block == before && size == 50, "the block is as it was");
  mb_alloc(&state.alloc, block, size, 0);
  lua_close(L);
  tap_int((long long)state.alloc.used, 0, "no memory is left over");
}

/* The finalizer needs the same block, as one that handles the next request would. */
static int resize_meanwhile(lua_State *L) {
  size_t before = size;
  mb_state_block(L, &block, &size, 5000);
  memset((char *)block + before, 'm', size - before);
  return 0;
}

static int drop_meanwhile(lua_State *L) {
  block = mb_alloc(mb_state_alloc(L), block, size, 0);
  size = 0;
  return 0;
}

/* Enlarges the block while a finalizer does something with it. */
static void meddle(lua_CFunction finalizer, const char *what) {
  struct mb_state state = {.alloc.limit = 0};
  lua_State *L = new_state(&state);
  block = NULL;
  size = 0;
  mb_state_block(L, &block, &size, 100);
  memset(block, 'b', size);
  lua_register(L, "meddle", finalizer);
  run(L, "setmetatable({}, {__gc = function() meddle() end})");
  make_garbage(L);
  limit_to_what_is_used(&state);
  size_t others = state.alloc.used;
  tap_str(error_of(L, enlarge), NULL, "a finalizer %s the block: it still grows", what);
  tap_ok(collected, "a finalizer %s the block: the caller is told", what);
  tap_int((long long)size, WANTED_BYTES, "a finalizer %s the block: its size", what);
  tap_ok(state.alloc.used < others - GARBAGE_BYTES + WANTED_BYTES + SPARE_BYTES,
         "a finalizer %s the block: it is counted once", what);
  if (finalizer == resize_meanwhile) {
    const char *bytes = block;
    tap_ok(bytes[99] == 'b' && bytes[100] == 'm' && bytes[4999] == 'm',
           "the finalizer's bytes stay");
  }
  mb_alloc(&state.alloc, block, size, 0);
  lua_close(L);
  tap_int((long long)state.alloc.used, 0, "a finalizer %s the block: nothing is left over", what);
}

/* A finalizer may also make the block large enough. */
static int enlarge_further(lua_State *L) {
  mb_state_block(L, &block, &size, WANTED_BYTES);
  memset(block, 'f', size);
  return 0;
}

/* ---- mb_state_made_room ---- */

static void descriptors(void) {
  static const struct {
    int r;
    bool room;
  } cases[] = {{-EMFILE, true}, {-ENFILE, true}, {-ENOMEM, false}, {-EAGAIN, false},
               {0, false},      {5, false},      {EMFILE, false}};
  struct mb_state state = {.alloc.limit = 0};
  lua_State *L = new_state(&state);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    add_finalizer(L);
    tap_int(mb_state_made_room(L, cases[i].r), cases[i].room, "made room after %d", cases[i].r);
    tap_int(finalized(L), cases[i].room, "garbage is collected after %d", cases[i].r);
  }
  lua_close(L);
}

/* ---- mb_state_drop_holders ---- */

static void holders(void) {
  struct mb_state state = {.alloc.limit = 0};
  lua_State *L = new_state(&state);
  struct mb_alloc *alloc = mb_state_alloc(L);
  bool one = false, two = false;
  mb_alloc_note(alloc, &one, true);
  mb_alloc_note(alloc, &one, true);
  tap_ok(alloc->holders == 1 && one, "an object counts once");
  add_finalizer(L);
  tap_ok(mb_state_has_new_holders(L), "there is a new one");
  tap_int(mb_state_drop_holders(L), LUA_OK, "garbage is collected");
  tap_ok(finalized(L) && !mb_state_has_new_holders(L), "and the object that is left is known");
  add_finalizer(L);
  mb_state_drop_holders(L);
  tap_ok(!finalized(L), "while nothing is new nothing is collected");
  mb_alloc_note(alloc, &one, false);
  mb_state_drop_holders(L);
  mb_alloc_note(alloc, &two, true);
  tap_ok(mb_state_has_new_holders(L), "one in the place of one that was closed is new");
  run(L, "setmetatable({}, {__gc = function() error('on purpose') end})");
  tap_ok(mb_state_drop_holders(L) != LUA_OK && strstr(lua_tostring(L, -1), "on purpose"),
         "the error of a finalizer is returned");
  tap_ok(!mb_state_has_new_holders(L), "and collecting is done all the same");
  lua_close(L);
}

/* ---- two states ---- */

static int fail(lua_State *L) { return luaL_error(L, "on purpose"); }

static int throw_on(lua_State *L) {
  lua_pushcfunction(L, fail);
  mb_state_pcall_keep(L, 0, 0, NULL);
  return mb_state_throw_on(L);
}

static const char *call(lua_State *L, lua_CFunction f) {
  lua_settop(L, 0);
  lua_pushcfunction(L, f);
  mb_state_call(L, 0, 0);
  return lua_tostring(L, -1);
}

static void two(void) {
  struct mb_state one = {.alloc.limit = 0}, other = {.alloc.limit = 0};
  lua_State *L = new_state(&one), *M = new_state(&other);
  lua_State *coroutine = lua_newthread(L);
  tap_ok(mb_state_of(L) == &one && mb_state_of(M) == &other, "each state has its own data");
  tap_ok(mb_state_of(coroutine) == &one, "a coroutine has those of its state");
  tap_ok(mb_state_alloc(L) == &one.alloc && mb_state_alloc(M) == &other.alloc, "and its accounts");

  add_finalizer(L);
  add_finalizer(M);
  make_garbage(M);
  limit_to_what_is_used(&one);
  buf = MB_BUF_INIT;
  tap_str(error_of(L, reserve), "not enough memory", "the other's garbage is of no use");
  tap_ok(finalized(L) && !finalized(M), "it is not collected");
  tap_str(error_of(M, reserve), NULL, "the other's memory is not limited");
  tap_ok(!collected && one.alloc.refused && !other.alloc.refused, "it knows of no shortage");
  mb_buf_free(&buf, &other.alloc);
  one.alloc.limit = 0;

  tap_ok(strstr(call(L, throw_on), "on purpose") != NULL, "an error is thrown on");
  tap_ok(one.kept_by == throw_on && other.kept_by == NULL, "the other knows nothing of it");
  lua_close(L);
  tap_int((long long)one.alloc.used, 0, "one is gone");
  add_finalizer(M);
  tap_ok(mb_state_made_room(M, -EMFILE) && finalized(M), "the other works on");
  lua_close(M);
  tap_int((long long)other.alloc.used, 0, "no memory is left over");
}

static void no_state(void) {
  struct mb_state state = {.alloc.limit = 1000};
  tap_ok(mb_state_new(&state) == NULL, "no state fits into 1000 bytes");
  tap_int((long long)state.alloc.used, 0, "nothing is left of it");
}

/* Calls a chunk of this name that throws. Returns the message with its traceback. */
static const char *thrown_by(lua_State *L, const char *name) {
  static const char chunk[] = "local function f() error('thrown') end f()";
  lua_settop(L, 0);
  if (luaL_loadbuffer(L, chunk, sizeof chunk - 1, name) != LUA_OK) tap_bail("no chunk");
  mb_state_call(L, 0, 0);
  return lua_tostring(L, -1);
}

static void tracebacks(void) {
  struct mb_state state = {.alloc.limit = 0};
  lua_State *L = new_state(&state);
  tap_ok(strstr(thrown_by(L, "@script.lua"), "\n\tscript.lua:1: in "), "an error has a traceback");
  char name[200] = "@/srv/";
  memset(name + strlen(name), 'd', 100);
  strcat(name, "/script.lua");
  tap_ok(strstr(thrown_by(L, name), "d/script.lua:1: in main chunk"),
         "and one in a script of a long path, of which Lua shows the end");
  tap_ok(!strstr(call(L, fail), "stack traceback"), "without a line of a script there is none");
  lua_close(L);
}

int main(void) {
  tracebacks();
  reserves();
  blocks();
  meddle(resize_meanwhile, "resizes");
  meddle(drop_meanwhile, "frees");
  meddle(enlarge_further, "enlarges");
  descriptors();
  holders();
  two();
  no_state();
  return tap_done();
}
