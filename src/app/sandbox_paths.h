/* Paths that come with a wish: what a program, a look-up of a name, or a Lua module needs to work. */
#ifndef MB_SANDBOX_PATHS_H
#define MB_SANDBOX_PATHS_H

#include <lua.h>

#include "app/options.h"
#include "sandbox/sandbox.h"

#define MB_MORE_PATHS 96

struct mb_more_paths {
  struct mb_sandbox_path list[MB_MORE_PATHS];
  size_t count;
};

/*
 * Collects the paths for a sandbox. They live as long as the values that it leaves on the stack. May throw.
 * records  the process records connections that come later
 */
void mb_sandbox_paths(lua_State *L, const struct mb_sandbox *sandbox,
                      const struct mb_options *options, bool records, struct mb_more_paths *ret);

#endif
