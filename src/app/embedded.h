/*
 * The Lua modules that are part of the program, as bytecode: no file is opened for them, and nothing
 * is done for those that no script requires.
 */
#ifndef MB_EMBEDDED_H
#define MB_EMBEDDED_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

enum { MB_EMBEDDED_NAME_MAX = 40 };

/* A table without pointers, which would be relocated at every start. */
struct mb_embedded {
  char name[MB_EMBEDDED_NAME_MAX]; /* as given to require; the table is sorted by it */
  unsigned offset, size; /* of its code in mb_embedded_code; 0: it is in that of another one */
  unsigned libraries;    /* those that it uses: bits of state/libraries.h */
};

/* The build generates it with embed.c. */
extern const struct mb_embedded mb_embedded_modules[];
extern const size_t mb_embedded_count;
extern const unsigned char mb_embedded_code[];

/* Makes require find these modules before any others. May throw. */
void mb_embedded_open(lua_State *L);

/* Returns whether a module of this name is part of the program. */
bool mb_embedded_has(const char *name);

#endif
