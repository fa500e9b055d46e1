/*
 * The children of a generation: who has which slot of the board. It is the parent's own memory, which no child can
 * change.
 */
#ifndef MB_POOL_ROLL_H
#define MB_POOL_ROLL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "app/pool_board.h"

struct mb_pool_member {
  pid_t pid;   /* 0: it is being made */
  int service; /* its number; below 0: a task's */
  bool is_there;
};

struct mb_pool_roll {
  struct mb_pool_board *board;
  int count; /* slots from here on were never used */
  struct mb_pool_member members[MB_POOL_CHILDREN_MAX];
};

/* Takes a free slot for a child that is being made. Returns its number, or -1. */
int mb_pool_roll_take(struct mb_pool_roll *roll, int service);

/* Frees the slot of a child that has ended, in whatever state it was, and counts its connection. Returns that state. */
enum mb_child_state mb_pool_roll_give(struct mb_pool_roll *roll, int slot);

/* Returns the slot of a process, or -1. */
int mb_pool_roll_find(const struct mb_pool_roll *roll, pid_t pid);

/* Returns how many children there are. */
int mb_pool_roll_children(const struct mb_pool_roll *roll);

/*
 * Returns the process of the service whose connection has waited longest for a request, of those with which nothing is
 * lost when they end now; 0 when there is none.
 */
pid_t mb_pool_roll_kept_longest(const struct mb_pool_roll *roll, int service, int64_t now);

/* Counts the children of a service in each state. */
void mb_pool_roll_count(const struct mb_pool_roll *roll, int service,
                        int ret_counts[MB_CHILD_KEPT + 1]);

#endif
