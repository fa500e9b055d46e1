/*
 * The step between prepare and connect: the process locks itself as the listener's sandbox and --sandbox say. It logs
 * what this kernel cannot do.
 */
#ifndef MB_SANDBOX_STEP_H
#define MB_SANDBOX_STEP_H

#include <lua.h>
#include <stdio.h>

#include "app/listen.h"
#include "app/options.h"
#include "base/exits.h"

/* Returns the wishes that hold for a service; NULL: only what is always on, or nothing. */
const struct mb_sandbox *mb_sandbox_step_wishes(const struct mb_service *service,
                                                const struct mb_options *options);

/* Locks the process. Returns MB_EXIT_OK, or why it must not serve, which is logged. */
enum mb_exit mb_sandbox_step(lua_State *L, const struct mb_service *service,
                             const struct mb_options *options);

/*
 * Locks what every process has, in the first process of a pool: all that it makes inherit it. Returns as mb_sandbox_step
 * does.
 */
enum mb_exit mb_sandbox_step_pool(const struct mb_options *options);

/*
 * Returns whether this machine has all that a service requires. Logs what it lacks. A pool asks it when the script is
 * loaded.
 */
bool mb_sandbox_step_is_possible(const struct mb_service *service,
                                 const struct mb_options *options);

/* Returns whether the process has processor time for another connection: each has as many seconds as the script says. */
bool mb_sandbox_step_goes_on(const struct mb_service *service, const struct mb_options *options);

/* Writes the sandbox of a service as --check shows it, below its listener. */
void mb_sandbox_step_print(const struct mb_service *service, const struct mb_options *options,
                           FILE *to);

#endif
