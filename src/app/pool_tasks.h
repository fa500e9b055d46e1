/* The intervals and mains of a script that runs in a pool: when each is due. Starts none itself. */
#ifndef MB_POOL_TASKS_H
#define MB_POOL_TASKS_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "app/pool_board.h"
#include "app/script.h"
#include "app/task.h"

struct mb_pool_task {
  const struct mb_listen_entry *entry;
  bool runs;
  int64_t due; /* monotonic microseconds; MB_NO_DEADLINE: not until it has ended, or never */
  int64_t began;
};

/* A task's number is below 0: -1, -2, and so on. */
struct mb_pool_tasks {
  struct mb_pool_task list[MB_POOL_SERVICES_MAX];
  int count;
};

/* Finds the tasks of a script that is loaded. Logs why it cannot. */
bool mb_pool_tasks_find(lua_State *L, const struct mb_script *script, struct mb_pool_tasks *ret);

/* Returns the number of a task that is to be started now, or 0. */
int mb_pool_tasks_due(const struct mb_pool_tasks *tasks, int64_t now);

/* Notes that a task was started, or could not be. */
void mb_pool_tasks_started(struct mb_pool_tasks *tasks, int task, bool good, int64_t now);

/* Notes that a task has ended with a status of waitpid(2). Logs an end by a signal. */
void mb_pool_tasks_ended(struct mb_pool_tasks *tasks, int task, int status, int64_t now);

/* Returns when a task is due next, or MB_NO_DEADLINE. */
int64_t mb_pool_tasks_next(const struct mb_pool_tasks *tasks);

const struct mb_listen_entry *mb_pool_tasks_entry(const struct mb_pool_tasks *tasks, int task);

#endif
