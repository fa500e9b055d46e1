/* Finds words in a text, and opens libraries. */
#include "state/libraries.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <string.h>

#include "state/state.h"

struct word {
  char text[15];
  unsigned char len;
  unsigned short libraries;
};

#define WORD(text, libraries) \
  { text, sizeof text - 1, libraries }

/*
 * Names of libraries, and words by which code reaches a library without its name: the table of globals; text that
 * becomes code; package.loaded; and debug, whose registry has all. What require finds is scanned itself, or opens all;
 * but then it is too late to load libm for it, where the process is locked.
 */
static const struct word words[] = {
    WORD("_ENV", MB_LIBRARIES_ALL),
    WORD("_G", MB_LIBRARIES_ALL),
    WORD("bit32", MB_LIBRARY_BIT32),
    WORD("coroutine", MB_LIBRARY_COROUTINE),
    WORD("debug", MB_LIBRARIES_ALL),
    WORD("dofile", MB_LIBRARIES_ALL),
    WORD("io", MB_LIBRARY_IO),
    WORD("load", MB_LIBRARIES_ALL),
    WORD("loadfile", MB_LIBRARIES_ALL),
    WORD("loadstring", MB_LIBRARIES_ALL),
    WORD("math", MB_LIBRARY_MATH),
    WORD("module", MB_LIBRARIES_ALL),
    WORD("moonbridge_io", MB_LIBRARY_MOONBRIDGE_IO),
    WORD("os", MB_LIBRARY_OS),
    WORD("package", MB_LIBRARIES_ALL),
    WORD("require", MB_LIBRARY_OPERATORS),
    WORD("table", MB_LIBRARY_TABLE),
    WORD("utf8", MB_LIBRARY_UTF8),
};

/* Which bytes a word is made of, also outside of ASCII: a Lua with other rules for names would not surprise us. */
static bool is_of_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         (c & 0x80);
}

static unsigned reached_by(const char *text, size_t len) {
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    if (words[i].len == len && words[i].text[0] == *text && memcmp(words[i].text, text, len) == 0)
      return words[i].libraries;
  }
  return 0;
}

unsigned mb_libraries_named(const char *text, size_t size) {
  if (size > 0 && *text == LUA_SIGNATURE[0]) return MB_LIBRARIES_ALL;
  unsigned named = 0;
  const char *end = text + size;
  while (named != MB_LIBRARIES_ALL) {
    for (; text < end && !is_of_word(*text); text++) {
      if (*text == '^' || *text == '%') named |= MB_LIBRARY_OPERATORS;
    }
    if (text == end) break;
    const char *begin = text;
    while (text < end && is_of_word(*text)) text++;
    named |= reached_by(begin, (size_t)(text - begin));
  }
  return named;
}

static const struct library {
  const char *name;
  lua_CFunction open;
} libraries[] = {
    {LUA_BITLIBNAME, luaopen_bit32}, {LUA_COLIBNAME, luaopen_coroutine},
    {LUA_DBLIBNAME, luaopen_debug},  {LUA_IOLIBNAME, luaopen_io},
    {LUA_MATHLIBNAME, luaopen_math}, {LUA_OSLIBNAME, luaopen_os},
    {LUA_TABLIBNAME, luaopen_table}, {LUA_UTF8LIBNAME, luaopen_utf8},
};

void mb_libraries_open(lua_State *L, unsigned wanted) {
  struct mb_state *state = mb_state_of(L);
  unsigned missing = wanted & ~state->libraries;
  if (!missing) return;
  luaL_checkstack(L, 3, "too many results");
  for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
    if (!(missing & 1u << i)) continue;
    luaL_requiref(L, libraries[i].name, libraries[i].open, 1);
    lua_pop(L, 1);
  }
  state->libraries |= missing;
  if (state->libraries_opened) state->libraries_opened(L, missing);
}

void mb_libraries_begin(lua_State *L) {
  static const struct library first[] = {
      {"_G", luaopen_base}, {LUA_LOADLIBNAME, luaopen_package}, {LUA_STRLIBNAME, luaopen_string}};
  for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
    luaL_requiref(L, first[i].name, first[i].open, 1);
    lua_pop(L, 1);
  }
}
