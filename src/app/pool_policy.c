/* Decides when a pool makes a process and when it lets one go. */
#include "app/pool_policy.h"

#include "base/fdio.h"

/* The defaults. A process that waits for its client takes memory and no processor: there may be many. */
enum { MAX_FORK = 256, MAX_FORK_PER_PROCESSOR = 4 };
#define FORK_DELAY       0.25
#define FORK_ERROR_DELAY 2.0
#define EXIT_DELAY       60.0
/* Shorter delays would do nothing but look and try again and again. */
#define EXIT_DELAY_LEAST_USEC       100000
#define FORK_ERROR_DELAY_LEAST_USEC 10000

static int larger(int a, int b) { return a > b ? a : b; }
static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

/* Returns the field's value, or what holds without it. */
static int count_of(lua_Integer field, int otherwise) {
  return field == MB_COUNT_NOT_SAID ? otherwise : (int)field;
}
static int64_t usec_of(double field, double otherwise) {
  return mb_usec_of(field == MB_PAUSE_NOT_SAID ? otherwise : field);
}

void mb_pool_policy_init(struct mb_pool_policy *policy, const struct mb_service *service,
                         int processors) {
  int pre = count_of(service->pre_fork, larger(1, processors / 2));
  int most = service->max_fork ? (int)service->max_fork
                               : larger(MAX_FORK, MAX_FORK_PER_PROCESSOR * processors);
  int least = count_of(service->min_fork, larger(2, processors));
  if (least > most) least = most;
  *policy = (struct mb_pool_policy){
      .limits = {.pre_fork = pre,
                 .min_fork = least,
                 .max_fork = most,
                 .fork_delay = usec_of(service->fork_delay, FORK_DELAY),
                 .fork_error_delay = later(FORK_ERROR_DELAY_LEAST_USEC,
                                           usec_of(service->fork_error_delay, FORK_ERROR_DELAY)),
                 .exit_delay =
                     later(EXIT_DELAY_LEAST_USEC, usec_of(service->exit_delay, EXIT_DELAY))},
  };
}

void mb_pool_policy_ended(struct mb_pool_policy *policy, enum mb_pool_ended how, int64_t now) {
  if (how == MB_POOL_DONE) {
    policy->owed++;
    return;
  }
  if (how == MB_POOL_UNPREPARED) {
    policy->blocked_until = now + policy->limits.fork_error_delay;
    policy->probing = true;
  }
  if (how == MB_POOL_LOST && policy->lost++ == 0)
    policy->forgive_at = now + policy->limits.fork_error_delay;
}

void mb_pool_policy_fork_failed(struct mb_pool_policy *policy, int64_t now) {
  policy->blocked_until = now + policy->limits.fork_error_delay;
}

/* A place that a lost process had is free again, one at a time. */
static void forgive(struct mb_pool_policy *policy, int64_t now) {
  while (policy->lost > 0 && now >= policy->forgive_at) {
    policy->lost--;
    policy->forgive_at += policy->limits.fork_error_delay;
  }
}

/*
 * Returns whether another process is wanted. A lost process still has its place: only a connection that waits gets
 * another one as long as there is room.
 * ret_now  true: at once; false: as the next spare one
 */
static bool is_wanted(const struct mb_pool_policy *policy, const struct mb_pool_counts *counts,
                      bool *ret_now) {
  int ready = counts->starting + counts->idle, all = ready + counts->busy;
  bool few = all + policy->lost < policy->limits.min_fork;
  bool demanded = counts->waiting && ready == 0;
  *ret_now = few || demanded || policy->owed > 0;
  return few || demanded || ready + policy->lost < policy->limits.pre_fork;
}

/* Returns whether an idle process is let go now: while there are more than min_fork, one may be each exit_delay. */
static bool retires(struct mb_pool_policy *policy, const struct mb_pool_counts *counts,
                    int64_t now) {
  const struct mb_pool_limits *limits = &policy->limits;
  int all = counts->starting + counts->idle + counts->busy;
  if (all <= limits->min_fork) {
    policy->exit_at = 0;
    return false;
  }
  bool due = policy->exit_at != 0 && now >= policy->exit_at;
  if (due || policy->exit_at == 0) policy->exit_at = now + limits->exit_delay;
  return due && counts->idle > limits->pre_fork;
}

/* Returns whether no process may be made now. Sets *again_at when that ends by itself. */
static bool is_blocked(const struct mb_pool_policy *policy, const struct mb_pool_counts *counts,
                       int64_t now, int64_t *again_at) {
  if (now < policy->blocked_until) {
    *again_at = earlier(*again_at, policy->blocked_until);
    return true;
  }
  return policy->probing && counts->starting > 0; /* its outcome wakes us */
}

struct mb_pool_step mb_pool_policy_next(struct mb_pool_policy *policy,
                                        const struct mb_pool_counts *counts, int64_t now) {
  forgive(policy, now);
  if (counts->prepared != policy->prepared) policy->probing = false;
  policy->prepared = counts->prepared;
  struct mb_pool_step step = {.again_at = policy->lost ? policy->forgive_at : MB_NO_DEADLINE};
  int ready = counts->starting + counts->idle;
  int room = policy->limits.max_fork - ready - counts->busy - policy->lost;
  bool at_once, wanted = is_wanted(policy, counts, &at_once), blocked = false;
  if (!wanted) policy->owed = 0;
  if (wanted && room > 0) {
    blocked = is_blocked(policy, counts, now, &step.again_at);
    if (!blocked && (at_once || now >= policy->spare_at)) {
      if (policy->owed > 0) policy->owed--;
      policy->spare_at = now + policy->limits.fork_delay;
      step.action = MB_POOL_FORK;
      return step;
    }
    if (!blocked) step.again_at = earlier(step.again_at, policy->spare_at);
  }
  if (retires(policy, counts, now)) {
    step.action = MB_POOL_RETIRE;
    return step;
  }
  if (policy->exit_at) step.again_at = earlier(step.again_at, policy->exit_at);
  step.watch = ready == 0 && room > 0 && !blocked;
  step.full = ready == 0 && room <= 0;
  return step;
}
