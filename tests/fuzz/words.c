/*
 * Fuzz harness for src/state/libraries.c. What Lua takes as a text is run, where each global is an object that does
 * whatever is asked of it: a library whose name is asked for must be one of those that were found in the text.
 */
#include "state/libraries.h"

#include <lauxlib.h>
#include <string.h>

#include "fuzz.h"

#define INSTRUCTIONS_MAX 2000

static unsigned found;

static const struct {
  const char *name;
  unsigned libraries;
} names[] = {
    {"_G", MB_LIBRARIES_ALL},
    {"bit32", MB_LIBRARY_BIT32},
    {"coroutine", MB_LIBRARY_COROUTINE},
    {"debug", MB_LIBRARIES_ALL},
    {"dofile", MB_LIBRARIES_ALL},
    {"io", MB_LIBRARY_IO},
    {"load", MB_LIBRARIES_ALL},
    {"loadfile", MB_LIBRARIES_ALL},
    {"loadstring", MB_LIBRARIES_ALL},
    {"math", MB_LIBRARY_MATH},
    {"module", MB_LIBRARIES_ALL},
    {"moonbridge_io", MB_LIBRARY_MOONBRIDGE_IO},
    {"os", MB_LIBRARY_OS},
    {"package", MB_LIBRARIES_ALL},
    {"table", MB_LIBRARY_TABLE},
    {"utf8", MB_LIBRARY_UTF8},
};

/* Returns the object, whatever it was asked. */
static int anything(lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(1));
  return 1;
}

/* Checks that the library whose name is the string at an index, if it is one, was found in the text. */
static void check_found(lua_State *L, int index) {
  size_t len;
  const char *name = lua_tolstring(L, index, &len);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (strlen(names[i].name) != len || memcmp(names[i].name, name, len) != 0) continue;
    CHECK((found & names[i].libraries) == names[i].libraries, "the text reaches %s", name);
  }
}

/* __index of the globals. */
static int global(lua_State *L) {
  if (lua_type(L, 2) == LUA_TSTRING) check_found(L, 2);
  return anything(L);
}

/* The function require: a name that is not in the text must have opened all. */
static int require(lua_State *L) {
  if (lua_type(L, 1) == LUA_TSTRING) {
    check_found(L, 1);
  } else {
    CHECK(found == MB_LIBRARIES_ALL, "require is called with something else than a string");
  }
  return anything(L);
}

static void stop(lua_State *L, lua_Debug *ar) {
  (void)ar;
  luaL_error(L, "enough");
}

/* Pushes the object that does whatever is asked of it. */
static void push_object(lua_State *L) {
  static const char *const events[] = {"__index", "__call", "__add", "__sub",  "__mul",    "__div",
                                       "__mod",   "__pow",  "__unm", "__idiv", "__band",   "__bor",
                                       "__bxor",  "__shl",  "__shr", "__bnot", "__concat", "__len"};
  lua_newtable(L);
  lua_newtable(L);
  for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, anything, 1);
    lua_setfield(L, -2, events[i]);
  }
  lua_setmetatable(L, -2);
}

static int run(lua_State *L) {
  const struct {
    const char *text;
    size_t size;
  } *input = lua_touserdata(L, 1);
  if (luaL_loadbufferx(L, input->text, input->size, "fuzz", "t") != LUA_OK) return 0;
  push_object(L);
  int object = lua_gettop(L);
  lua_newtable(L); /* the globals */
  lua_pushvalue(L, object);
  lua_pushcclosure(L, require, 1);
  lua_setfield(L, -2, "require");
  lua_newtable(L);
  lua_pushvalue(L, object);
  lua_pushcclosure(L, global, 1);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
  lua_setupvalue(L, object - 1, 1);
  lua_pushvalue(L, object - 1);
  lua_pushvalue(L, object);
  lua_sethook(L, stop, LUA_MASKCOUNT, INSTRUCTIONS_MAX);
  lua_call(L, 1, 0);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct {
    const char *text;
    size_t size;
  } input = {(const char *)data, size};
  found = mb_libraries_named(input.text, size);
  CHECK((found & ~(unsigned)MB_LIBRARIES_ALL) == 0, "unknown bits: %u", found);
  if (size > 0 && *input.text == LUA_SIGNATURE[0]) return 0;
  lua_State *L = luaL_newstate();
  if (!L) return 0;
  lua_pushcfunction(L, run);
  lua_pushlightuserdata(L, &input);
  lua_pcall(L, 1, 0, 0);
  lua_close(L);
  return 0;
}
