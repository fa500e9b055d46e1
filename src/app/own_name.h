/*
 * require of a script's own name never loads the script itself: a program copas.lua that requires "copas" means
 * the module, though its own directory comes first in package.path.
 */
#ifndef MB_OWN_NAME_H
#define MB_OWN_NAME_H

#include <lua.h>
#include <stdbool.h>

/* Returns whether a module's name is that of the script's file. */
bool mb_own_name_is(const char *name, const char *script);

/*
 * Looks for a module in place of require, which has called a searcher.
 * searcher  the searcher, which is left out; its first argument is the name
 * Returns 2, with the module's loader and the loader's argument pushed, as a searcher does. Throws when there is
 * no such module, apart from the script.
 */
int mb_own_name_search(lua_State *L, lua_CFunction searcher, const char *script);

#endif
