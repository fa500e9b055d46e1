/* Which file is the script: the argument, $MB_SCRIPT, or one of the handler directory. */
#ifndef MB_SCRIPT_PATH_H
#define MB_SCRIPT_PATH_H

#include <limits.h>

#include "options.h"
#include "peer.h"

#define MB_SCRIPT_TRIED_MAX (2 * PATH_MAX)

/*
 * local      the connection's local address; len 0: a replay
 * ret_path   room for a path
 * ret_tried  the paths that were tried, for a message, when there is no script
 * Returns the path, or NULL. A script that was named is not looked at: opening it will tell.
 */
const char *mb_script_path(const struct mb_options *options, const struct mb_addr *local,
                           char ret_path[PATH_MAX], char ret_tried[MB_SCRIPT_TRIED_MAX]);

#endif
