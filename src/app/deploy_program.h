/*
 * Finds out whether mb-handle-static can run a script in the place of mb-handle: it loads no module in C, and asks
 * mb-handle about names. lua/mb/deploy/program.lua looks at the script's text.
 */
#ifndef MB_DEPLOY_PROGRAM_H
#define MB_DEPLOY_PROGRAM_H

#include <limits.h>
#include <lua.h>
#include <stdbool.h>

#include "app/script.h"

#define MB_DEPLOY_WHY_MAX 512 /* with the NUL */

/*
 * Examines a script that is loaded. Only what is proven counts: what cannot be known is a reason for mb-handle.
 * ret_why  why mb-handle has to run it, half a sentence; "": mb-handle-static can
 */
void mb_deploy_program_examine(lua_State *L, const struct mb_script *script,
                               char ret_why[MB_DEPLOY_WHY_MAX]);

/*
 * Finds the file of this program, and that of mb-handle-static, which is beside it.
 * ret_static  "": it is not there, or cannot be executed
 * Returns 0 or -errno.
 */
int mb_deploy_program_find(char ret_program[PATH_MAX], char ret_static[PATH_MAX]);

/* Returns whether the script has loaded something that mb-handle-static cannot load at all, by the text of ret_why. */
bool mb_deploy_program_is_loaded(const char *why);

#endif
