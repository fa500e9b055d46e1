/* Which file is the script: the argument, $MB_SCRIPT, or one of the handler directory. */
#ifndef MB_SCRIPT_PATH_H
#define MB_SCRIPT_PATH_H

#include <limits.h>

#include "options.h"
#include "peer.h"

/*
 * local     the connection's local address; len 0: a replay
 * ret_path  room for a path
 * Returns the path, or NULL after a line in the log that names what was tried.
 */
const char *mb_script_path(const struct mb_options *options, const struct mb_addr *local,
                           char ret_path[PATH_MAX]);

#endif
