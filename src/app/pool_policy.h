/*
 * Decides when a pool makes a process and when it lets one go. Plain numbers: knows no process, no clock and no
 * listener.
 */
#ifndef MB_POOL_POLICY_H
#define MB_POOL_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "app/listen.h"

/* How many processes a pool keeps, and how fast that changes. Times are microseconds. */
struct mb_pool_limits {
  int pre_fork, min_fork, max_fork;
  int64_t fork_delay, fork_error_delay, exit_delay;
};

/* What there is. */
struct mb_pool_counts {
  int starting;      /* processes that run prepare */
  int idle;          /* that wait for a connection */
  int busy;          /* all others */
  bool waiting;      /* a connection waits in a listener */
  unsigned prepared; /* how many have come out of prepare so far */
};

/* Why a process has ended. */
enum mb_pool_ended {
  MB_POOL_DONE,       /* it has served, or the pool let it go */
  MB_POOL_LOST,       /* it crashed, was killed, or its time or memory was over */
  MB_POOL_UNPREPARED, /* it ended before it was ready for a connection */
};

/* All that is remembered. Times are points in monotonic microseconds. */
struct mb_pool_policy {
  struct mb_pool_limits limits;
  int lost;              /* processes that were lost and may not be replaced yet */
  int owed;              /* processes that are done and may be replaced at once */
  int64_t spare_at;      /* no spare process is made before */
  int64_t blocked_until; /* no process at all */
  int64_t forgive_at;    /* one that was lost may be replaced from here on */
  int64_t
      exit_at;  /* an idle process that is too much is let go; 0: there are no more than min_fork */
  bool probing; /* prepare has failed: one process at a time, until one comes out of it */
  unsigned prepared; /* of the counts before */
};

enum mb_pool_action {
  MB_POOL_WAIT,
  MB_POOL_FORK,   /* make a process; then ask again */
  MB_POOL_RETIRE, /* let an idle one go; then ask again */
};

struct mb_pool_step {
  enum mb_pool_action action;
  int64_t
      again_at; /* of MB_POOL_WAIT: ask again then, or when a count changes; MB_NO_DEADLINE: only then */
  bool watch; /* of MB_POOL_WAIT: ask again as soon as a connection waits */
  bool full;  /* of MB_POOL_WAIT: nobody is free, and no process may be made */
};

/* Begins with no process. The fields of listen{} that are not given have their defaults for so many processors. */
void mb_pool_policy_init(struct mb_pool_policy *policy, const struct mb_service *service,
                         int processors);

/* Notes that a process has ended. */
void mb_pool_policy_ended(struct mb_pool_policy *policy, enum mb_pool_ended how, int64_t now);

/* Notes that no process could be made. */
void mb_pool_policy_fork_failed(struct mb_pool_policy *policy, int64_t now);

/* Returns what to do now, and notes that it is done. */
struct mb_pool_step mb_pool_policy_next(struct mb_pool_policy *policy,
                                        const struct mb_pool_counts *counts, int64_t now);

#endif
