/* src/app/pool_policy.c: when a pool makes a process and when it lets one go. */
#include "app/pool_policy.h"

#include "../../lib/tap.h"
#include "base/fdio.h"

#define SECOND 1000000

static struct mb_pool_policy policy;
static struct mb_pool_counts there; /* a process that is made stands in `idle` at once */
static int64_t now;

static struct mb_service service_with(int pre, int least, int most) {
  return (struct mb_service){.pre_fork = pre,
                             .min_fork = least,
                             .max_fork = most,
                             .fork_delay = 1,
                             .fork_error_delay = 2,
                             .exit_delay = 60};
}

static void begin(int pre, int least, int most) {
  const struct mb_service service = service_with(pre, least, most);
  mb_pool_policy_init(&policy, &service, 2);
  there = (struct mb_pool_counts){0};
  now = 1000 * (int64_t)SECOND;
}

/* Does what the policy says until it says that there is nothing to do. Returns how many processes were made. */
static int run(struct mb_pool_step *ret_step) {
  struct mb_pool_step step;
  int made = 0;
  while ((step = mb_pool_policy_next(&policy, &there, now)).action != MB_POOL_WAIT) {
    if (step.action == MB_POOL_FORK) {
      made++;
      there.idle++;
      there.waiting = false;
    } else {
      there.idle--;
    }
    if (made > 1000) tap_bail("a fork storm");
  }
  if (ret_step) *ret_step = step;
  return made;
}

static void ended(enum mb_pool_ended how, int count) {
  for (int i = 0; i < count; i++) mb_pool_policy_ended(&policy, how, now);
}

static void defaults(void) {
  const struct mb_service silent = {.pre_fork = MB_COUNT_NOT_SAID,
                                    .min_fork = MB_COUNT_NOT_SAID,
                                    .fork_delay = MB_PAUSE_NOT_SAID,
                                    .fork_error_delay = MB_PAUSE_NOT_SAID,
                                    .exit_delay = MB_PAUSE_NOT_SAID};
  static const struct {
    int processors, pre, least, most;
  } cases[] = {{1, 1, 2, 256}, {2, 1, 2, 256}, {64, 32, 64, 256}, {128, 64, 128, 512}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mb_pool_policy_init(&policy, &silent, cases[i].processors);
    tap_int(policy.limits.pre_fork, cases[i].pre, "pre_fork for %d", cases[i].processors);
    tap_int(policy.limits.min_fork, cases[i].least, "min_fork");
    tap_int(policy.limits.max_fork, cases[i].most, "max_fork");
  }
  tap_int(policy.limits.fork_error_delay, 2 * SECOND, "fork_error_delay");
  begin(1, 5, 3);
  tap_int(policy.limits.min_fork, 3, "max_fork goes before min_fork");
}

static void growth(void) {
  struct mb_pool_step step;
  begin(1, 2, 4);
  tap_int(run(&step), 2, "min_fork is made at once");
  tap_int(step.again_at, MB_NO_DEADLINE, "and then nothing happens by itself");
  there.idle = 0, there.busy = 2;
  tap_int(run(&step), 0, "both are busy: the spare one has to wait");
  tap_ok(step.again_at == now + SECOND && step.watch, "for fork_delay, or until somebody waits");
  there.waiting = true;
  tap_int(run(NULL), 1, "a connection that waits gets one at once");
  there.idle = 0, there.busy = 3, now += SECOND;
  tap_int(run(NULL), 1, "after fork_delay there is a spare one");
  there.idle = 0, there.busy = 4, there.waiting = true;
  tap_int(run(&step), 0, "max_fork is the most");
  tap_ok(step.full && !step.watch, "the pool is full");
  there.busy = 3;
  ended(MB_POOL_DONE, 1);
  tap_int(run(NULL), 1, "one that is done is replaced at once");
  there.starting = 1, there.idle = 0, there.busy = 2, there.waiting = true;
  tap_int(run(NULL), 0, "one that prepares is for the connection that waits");
}

static void shrinking(void) {
  struct mb_pool_step step;
  begin(1, 2, 8);
  there.idle = 5;
  run(&step);
  tap_int(step.again_at, now + 60 * SECOND,
          "too many are idle: the first one goes after exit_delay");
  now += 60 * SECOND;
  run(&step);
  tap_int(there.idle, 4, "it goes");
  tap_int(step.again_at, now + 60 * SECOND, "the next one later");
  for (int i = 0; i < 5; i++) now += 60 * SECOND, run(&step);
  tap_int(there.idle, 2, "min_fork stays");
  tap_int(step.again_at, MB_NO_DEADLINE, "and no timer runs");
  begin(1, 2, 8);
  there.busy = 5;
  tap_int(run(&step), 1, "all are busy, and so there is a spare one");
  tap_int(step.again_at, now + 60 * SECOND, "nobody tells when they are idle: it is asked again");
  there.idle += there.busy, there.busy = 0, now += 60 * SECOND;
  run(&step);
  tap_int(there.idle, 5, "then one goes");
}

static void losses(void) {
  struct mb_pool_step step;
  begin(1, 4, 6);
  run(NULL);
  there.idle = 1;
  ended(MB_POOL_LOST, 3);
  tap_int(run(&step), 0, "lost processes are not replaced at once");
  tap_int(step.again_at, now + 2 * SECOND, "but after fork_error_delay");
  now += 2 * SECOND;
  tap_int(run(NULL), 1, "one");
  now += SECOND;
  tap_int(run(NULL), 0, "not two");
  now += SECOND;
  tap_int(run(NULL), 1, "the next one after another fork_error_delay");
  there.idle = 0, there.busy = 3, there.waiting = true;
  tap_int(run(NULL), 1, "a connection that waits gets one, as there is room");
  there.idle = 0, there.busy = 5, there.waiting = true;
  tap_int(run(NULL), 0, "but not the place of a lost one");

  begin(1, 4, 6);
  ended(MB_POOL_UNPREPARED, 1);
  there.waiting = true;
  tap_int(run(&step), 0, "after a prepare that failed there is none at all");
  tap_ok(step.again_at == now + 2 * SECOND && !step.watch, "until fork_error_delay is over");
  now += 2 * SECOND;
  there.waiting = false, there.starting = 1; /* it is made next, and does not get ready at once */
  tap_int(run(NULL), 0, "then one at a time");
  there.starting = 0;
  ended(MB_POOL_UNPREPARED, 1);
  tap_int(run(NULL), 0, "and when that fails, too, none again");
  now += 2 * SECOND;
  there.idle = 1, there.prepared++;
  tap_int(run(NULL), 3, "once one is ready, as many as are wanted");
  begin(1, 2, 6);
  mb_pool_policy_fork_failed(&policy, now);
  there.waiting = true;
  tap_int(run(&step), 0, "the same holds when the system could make none");
  tap_int(step.again_at, now + 2 * SECOND, "for fork_error_delay");
}

int main(void) {
  defaults();
  growth();
  shrinking();
  losses();
  return tap_done();
}
