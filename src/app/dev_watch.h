/*
 * The first process of a pool with --dev: watches the files that any of its processes has loaded for the script, and
 * says on the terminal what it serves.
 */
#ifndef MB_DEV_WATCH_H
#define MB_DEV_WATCH_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "app/options.h"
#include "app/pool_sockets.h"

/* Begins. Processes that are made from now on tell what they load. Returns 0 or -errno. */
int mb_dev_watch_open(void);

/* In a process that was made: what is the first process's alone is closed. */
void mb_dev_watch_leave(void);

/* How many descriptors it waits for. */
#define MB_DEV_WATCH_FDS 2

/* Writes what it waits for. Returns how many descriptors these are: 0 when mb_dev_watch_open was not called. */
int mb_dev_watch_fds(struct pollfd ret_fds[MB_DEV_WATCH_FDS]);

/* Takes in what processes have told, and what has happened to files. Does not wait. */
void mb_dev_watch_look(void);

/*
 * Returns whether the script is to be loaded anew: a file has changed, and nobody has written to one for a moment. Logs
 * which. Otherwise lowers *again_at to the time at which this is to be called again.
 */
bool mb_dev_watch_is_due(int64_t now, int64_t *again_at);

/* Logs where the script is served. again: it was loaded anew */
void mb_dev_watch_log(const struct mb_options *options, const struct mb_pool_sockets *sockets,
                      bool again);

#endif
