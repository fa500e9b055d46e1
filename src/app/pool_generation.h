/* What the files of a generation share: pool_generation.c, and pool_setup.c, which makes it ready. */
#ifndef MB_POOL_GENERATION_H
#define MB_POOL_GENERATION_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "app/pool.h"
#include "app/pool_policy.h"
#include "app/pool_roll.h"
#include "app/pool_tasks.h"
#include "app/script.h"

struct mb_generation_service {
  const struct mb_service *service;
  struct mb_pool_policy policy;
  int retire;         /* an eventfd: an idle child that takes 1 of it ends */
  pid_t reclaimed;    /* the last process whose kept connection was ended */
  int64_t reclaim_at; /* no other one is ended before, unless that process has ended */
  bool watched;       /* the wait that comes next ends when a connection waits */
};

struct mb_generation {
  const struct mb_generation_start *start;
  const struct mb_script *script;
  struct mb_generation_service services[MB_POOL_SERVICES_MAX];
  int nservices;
  struct mb_pool_roll roll; /* its children */
  struct mb_pool_tasks tasks;
  int signals, wake; /* signalfd, eventfd */
  int drain[2];      /* a pipe: its reading end is every child's, its other end ours alone */
  bool draining;
  /*
   * While it drains: the sockets end then, or when nothing waits in them any more. 0: they have ended, or others accept
   * from them.
   */
  int64_t clear_until;
  bool is_alone;    /* the first process has gone */
  bool fork_failed; /* was logged */
};

/*
 * Finds the listeners of the sockets and the tasks, opens what the processes share, and tells the first process that the
 * script is loaded. Logs what goes wrong.
 */
enum mb_exit mb_generation_set_up(lua_State *L, struct mb_generation *g);

#endif
