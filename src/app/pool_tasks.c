/* When the intervals and mains of a pool are due. */
#include "app/pool_tasks.h"

#include <string.h>
#include <sys/wait.h>

#include "app/listen.h"
#include "base/fdio.h"
#include "base/log.h"
#include "base/rare.h"

/* So long after a main has failed it is started again, when fork_error_delay does not say otherwise. */
#define ERROR_DELAY 2.0

static struct mb_pool_task *task_of(struct mb_pool_tasks *tasks, int task) {
  return &tasks->list[-1 - task];
}

static bool is_interval(const struct mb_pool_task *t) {
  return t->entry->proto == MB_PROTO_INTERVAL;
}

/* A shorter delay would do nothing but make processes. */
#define DELAY_LEAST_USEC 1000

static int64_t delay_of(const struct mb_pool_task *t) {
  int64_t usec = mb_usec_of(t->entry->delay);
  return usec > DELAY_LEAST_USEC ? usec : DELAY_LEAST_USEC;
}

bool mb_pool_tasks_find(lua_State *L, const struct mb_script *script, struct mb_pool_tasks *ret) {
  int64_t now = mb_now_usec();
  ret->count = 0;
  for (const struct mb_listen_entry *l = mb_listen_first(L); l; l = l->next) {
    if (l->proto != MB_PROTO_INTERVAL && l->proto != MB_PROTO_MAIN) continue;
    if (ret->count == MB_POOL_SERVICES_MAX) {
      mb_log(LOG_ERR, "%s: more than %d intervals and mains", script->path, MB_POOL_SERVICES_MAX);
      return false;
    }
    struct mb_pool_task *t = &ret->list[ret->count++];
    *t = (struct mb_pool_task){.entry = l, .due = now};
    if (is_interval(t)) t->due += delay_of(t);
  }
  return true;
}

int mb_pool_tasks_due(const struct mb_pool_tasks *tasks, int64_t now) {
  for (int i = 0; i < tasks->count; i++) {
    if (!tasks->list[i].runs && tasks->list[i].due <= now) return -1 - i;
  }
  return 0;
}

static int64_t error_delay(const struct mb_pool_task *t) {
  double seconds = t->entry->service->fork_error_delay;
  return mb_usec_of(seconds == MB_PAUSE_NOT_SAID ? ERROR_DELAY : seconds);
}

void mb_pool_tasks_started(struct mb_pool_tasks *tasks, int task, bool good, int64_t now) {
  struct mb_pool_task *t = task_of(tasks, task);
  t->runs = good;
  t->began = now;
  if (!good) t->due = now + error_delay(t);
}

void mb_pool_tasks_ended(struct mb_pool_tasks *tasks, int task, int status, int64_t now) {
  struct mb_pool_task *t = task_of(tasks, task);
  bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  t->runs = false;
  if (is_interval(t)) {
    /* Strict: from start to start; a run that took longer is followed by the next at once. */
    t->due = t->entry->strict ? t->began + delay_of(t) : now + delay_of(t);
  } else {
    t->due = good ? MB_NO_DEADLINE : now + error_delay(t);
  }
  if (WIFSIGNALED(status) && WTERMSIG(status) != SIGALRM && WTERMSIG(status) != SIGTERM)
    mb_log(LOG_WARNING, "pool: %s %s was ended by signal %d (%s)", mb_proto_name(t->entry->proto),
           mb_listen_name(t->entry), WTERMSIG(status), MB_RARE(strsignal)(WTERMSIG(status)));
}

int64_t mb_pool_tasks_next(const struct mb_pool_tasks *tasks) {
  int64_t next = MB_NO_DEADLINE;
  for (int i = 0; i < tasks->count; i++) {
    if (!tasks->list[i].runs && tasks->list[i].due < next) next = tasks->list[i].due;
  }
  return next;
}

const struct mb_listen_entry *mb_pool_tasks_entry(const struct mb_pool_tasks *tasks, int task) {
  return tasks->list[-1 - task].entry;
}
