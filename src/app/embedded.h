/*
 * The Lua modules that are part of the program, as bytecode: no file is opened for them, and nothing
 * is done for those that no script requires.
 */
#ifndef MB_EMBEDDED_H
#define MB_EMBEDDED_H

#include <lua.h>
#include <stddef.h>

struct mb_embedded {
  const char *name; /* as given to require; NULL ends the table */
  const unsigned char *code;
  size_t size;
  unsigned libraries; /* those that it uses: bits of state/libraries.h */
};

/* The build generates it with embed.c. */
extern const struct mb_embedded mb_embedded_modules[];

/* Makes require find these modules before any others. May throw. */
void mb_embedded_open(lua_State *L);

#endif
