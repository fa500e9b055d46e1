/*
 * The pool: one process that holds the listening sockets, one for each load of the script, and its children, which
 * accept connections and serve them.
 *
 *   pool.c             the first process: starts and reloads, and ends all the others. It has no Lua state.
 *   pool_generation.c  a process that has loaded the script once: makes and replaces children
 *   pool_setup.c       what it does before the first child
 *   pool_child.c       a child: prepare, one connection after another, finish
 */
#ifndef MB_POOL_H
#define MB_POOL_H

#include <lua.h>

#include "app/listen.h"
#include "app/options.h"
#include "app/pool_board.h"
#include "app/pool_policy.h"
#include "app/pool_sockets.h"
#include "base/exits.h"

/*
 * Serves until it is told to end.
 * fd, count  the listening sockets that were handed over; count 0: the pool opens its own (--serve)
 */
enum mb_exit mb_pool_run(const struct mb_options *options, int fd, int count);

/* The seconds of --grace when it is not said: shorter than systemd waits before it kills (90 s). */
#define MB_POOL_GRACE 30.0

/* ---- between the processes of a pool ---- */

/* What a generation gets from the first process. */
struct mb_generation_start {
  const struct mb_options *options;
  struct mb_pool_sockets *sockets; /* a copy of its own */
  struct mb_pool_board *board;
  int channel; /* to the first process; its end says that that process has ended */
};

/*
 * Loads the script, says by the channel that it serves, with the descriptors of its sockets, and serves. From
 * then on SIGTERM makes it drain: it ends when all of its children have ended. Returns the exit status of the process,
 * which may be that of a child.
 */
enum mb_exit mb_pool_generation(const struct mb_generation_start *start);

/* The message by which a generation says that it serves; with it come the descriptors of its sockets. */
struct mb_pool_ready {
  int nsockets;
  int least, most; /* processes, of all listen{} calls */
};

/* What a child gets from its generation. */
struct mb_child_start {
  const struct mb_options *options;
  struct mb_pool_board *board;
  int slot;
  int number;    /* of the service */
  int drain_fd;  /* readable: no other connection, as the pool drains or the generation has ended */
  int retire_fd; /* an eventfd: a child that takes 1 of it ends */
  int wake_fd;   /* an eventfd: wakes the generation */
  const struct mb_pool_sockets *sockets;
};

/* Prepares and serves the connections that come in on the sockets of a service, as long as connect returns true. */
enum mb_exit mb_pool_child(lua_State *L, const struct mb_service *service,
                           const struct mb_child_start *start);

/* A function for Lua: makes a loaded state ready to be copied into children. Throws as mb_state_settle does. */
int mb_pool_share(lua_State *L);

/* Returns how a child has ended, for its parent. Logs an end that nobody else has logged. */
enum mb_pool_ended mb_pool_child_ended(pid_t pid, int status, enum mb_child_state state,
                                       uint64_t served);

/*
 * Returns with what status the process of a generation has ended before it served. Logs an end that nobody else has
 * logged. is_ending: the pool ends, and may have killed it
 */
enum mb_exit mb_pool_load_ended(int status, bool is_ending);

/* Logs that the process of a generation has ended while it served. */
void mb_pool_generation_ended(pid_t pid, int status);

/*
 * Ends the process of a generation or of a child as exit(3) does, without what touches memory that a child would have to
 * copy first. Returns where a tool of developers has to see the end: a sanitizer, or gcov.
 */
void mb_pool_leave(enum mb_exit exit);

#endif
