/* Finds the file of the script: the argument, $MB_SCRIPT, or a file in the handler directory. */
#ifndef MB_SCRIPT_PATH_H
#define MB_SCRIPT_PATH_H

#include <limits.h>

#include "app/options.h"
#include "base/addr.h"

/*
 * Finds the path of the script. Does not look whether a script that was named exists: opening it will
 * tell.
 * local     the connection's local address; len 0: a replay
 * ret_path  room for a path
 * Returns the path, or NULL when there is no script.
 */
const char *mb_script_path(const struct mb_options *options, const struct mb_addr *local,
                           char ret_path[PATH_MAX]);

#define MB_SCRIPT_TRIED_MAX 1024

/* Writes the paths that mb_script_path looked for, for a message when there is no script. */
void mb_script_tried(const struct mb_options *options, const struct mb_addr *local,
                     char ret_text[MB_SCRIPT_TRIED_MAX]);

#endif
