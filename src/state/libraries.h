/*
 * Lua's standard libraries, opened when code names them. To fill the tables of them all is half of what a start
 * executes, and most scripts use a few. A library is a global table: code reaches it by its name, which stands in its
 * text as a word, or through a few other words, which name all globals at once or bring more code: then all are
 * opened. So no code sees that one was missing.
 */
#ifndef MB_LIBRARIES_H
#define MB_LIBRARIES_H

#include <lua.h>
#include <stddef.h>

/*
 * A bit for each library that may be opened later. The others (_G, package, string) are there from the beginning.
 * moonbridge_io is none of Lua's: who has it opens it when state->libraries_opened is called.
 */
enum {
  MB_LIBRARY_BIT32 = 1 << 0,
  MB_LIBRARY_COROUTINE = 1 << 1,
  MB_LIBRARY_DEBUG = 1 << 2,
  MB_LIBRARY_IO = 1 << 3,
  MB_LIBRARY_MATH = 1 << 4,
  MB_LIBRARY_OS = 1 << 5,
  MB_LIBRARY_TABLE = 1 << 6,
  MB_LIBRARY_UTF8 = 1 << 7,
  MB_LIBRARY_MOONBRIDGE_IO = 1 << 8,
  MB_LIBRARY_OPERATORS = 1 << 9, /* no table: what ^ and % of floats call, see base/mathematics.h */
  MB_LIBRARIES_ALL = (1 << 10) - 1,
};

/*
 * Returns the libraries that a text in Lua can reach: those whose names are words in it, not in comments or strings;
 * all, where a word like load or _G is. A precompiled chunk reaches all.
 */
unsigned mb_libraries_named(const char *text, size_t size);

/* The same for a text of ours, which requires nothing but modules of ours, by whatever name. */
unsigned mb_libraries_of_ours(const char *text, size_t size);

/* Opens those of the wanted libraries that are not open yet. May throw. */
void mb_libraries_open(lua_State *L, unsigned wanted);

/* Opens those that are there from the beginning. May throw. */
void mb_libraries_begin(lua_State *L);

#endif
