/*
 * Loads a script for the modes that make a service of it, in a process of its own: root may run them, and the
 * script may be anybody's.
 */
#ifndef MB_DEPLOY_LOAD_H
#define MB_DEPLOY_LOAD_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "app/options.h"
#include "base/exits.h"

#define MB_DEPLOY_ACCOUNT "mb-handle" /* units/mb-handle.sysusers.in makes it */

/* What a script has registered, as its process has sent it. Nothing in it is to be trusted. */
struct mb_deploy_listening {
  char *data;
  size_t size;
  bool as_account; /* the script was loaded as MB_DEPLOY_ACCOUNT */
};

/*
 * Loads a script in a child process, in the directory "/", where services are started. When we are root,
 * and the service is not for root's own manager, the child becomes MB_DEPLOY_ACCOUNT first, or "nobody" as
 * long as there is no such account. The child has no descriptors but the log and a pipe to us.
 * path   the absolute path of the script, in the place of the one in the options
 * ret    its data is to be freed
 * Returns MB_EXIT_OK; or another status, and the log says why.
 */
enum mb_exit mb_deploy_load(const struct mb_options *options, const char *path,
                            struct mb_deploy_listening *ret);

/* Returns why mb-handle has to run the script, as the script's process has said it: see deploy_program.h. */
const char *mb_deploy_why(const struct mb_deploy_listening *listening);

/*
 * Registers the same in a state without a script, by listen{}, whose checks hold for it. Throws when it is
 * nothing that a script can have registered.
 */
void mb_deploy_register(lua_State *L, const struct mb_deploy_listening *listening);

#endif
