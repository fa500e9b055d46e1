/*
 * src/app/pool_board.c and pool_roll.c: what the processes of a pool know of each other, also when one is killed, and when
 * one writes what it likes.
 */
#include "app/pool_board.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/tap.h"
#include "app/pool_roll.h"

static int counts[MB_CHILD_KEPT + 1];

static int idle_of(const struct mb_pool_roll *r, int service) {
  mb_pool_roll_count(r, service, counts);
  tap_int(r->board->services[service].idle, counts[MB_CHILD_IDLE], "the counter is the slots' sum");
  return counts[MB_CHILD_IDLE];
}

/* A child that was taken over writes all of the board. */
static void scribble(const struct mb_pool_roll *r) {
  struct mb_pool_board *b = r->board;
  pid_t pid = fork();
  if (pid == 0) {
    b->nslots = 1 << 30;
    for (int i = 0; i < MB_POOL_CHILDREN_MAX; i++) {
      b->slots[i].state = i % 2 ? -1000 : 1 << 30;
      b->slots[i].kept_until = INT64_MIN;
    }
    _exit(0);
  }
  waitpid(pid, NULL, 0);
}

int main(void) {
  struct mb_pool_board *b = mb_pool_board_new();
  struct mb_pool_roll *r = calloc(1, sizeof *r);
  if (!b || !r) tap_bail("no memory");
  r->board = b;
  b->services[0].wake_below = 1;
  int first = mb_pool_roll_take(r, 0), second = mb_pool_roll_take(r, 0);
  tap_ok(first != second && first >= 0 && second >= 0, "two slots");
  r->members[first].pid = 1001, r->members[second].pid = 1002;
  tap_int(mb_pool_roll_find(r, 1002), second, "a slot is found by its process");
  tap_int(mb_pool_roll_find(r, 7), -1, "another process has none");
  tap_ok(!mb_pool_board_set(b, first, 0, MB_CHILD_IDLE), "the first one is ready: nobody is woken");
  mb_pool_board_set(b, second, 0, MB_CHILD_IDLE);
  mb_pool_board_set(b, second, 0, MB_CHILD_IDLE);
  tap_int(idle_of(r, 0), 2, "both are idle");
  tap_ok(!mb_pool_board_set(b, first, 0, MB_CHILD_BUSY), "one is left: nobody is woken");
  tap_ok(mb_pool_board_set(b, second, 0, MB_CHILD_BUSY), "none is left: the parent is woken");
  tap_int(idle_of(r, 0), 0, "none is idle");

  pid_t pid = fork();
  if (pid == 0) {
    mb_pool_board_set(b, first, 0, MB_CHILD_IDLE);
    _exit(0);
  }
  waitpid(pid, NULL, 0);
  tap_int(idle_of(r, 0), 1, "a child's state is seen by its parent");
  uint64_t served = b->served;
  tap_int(mb_pool_roll_give(r, first), MB_CHILD_IDLE, "it ends while it is idle");
  tap_int((long long)(b->served - served), 0, "and had no connection");
  tap_int(idle_of(r, 0), 0, "and is no longer counted");
  tap_int(mb_pool_roll_take(r, 1), first, "its slot is free again");
  b->slots[first].serving = true;
  mb_pool_roll_give(r, first);
  tap_int((long long)(b->served - served), 1, "one that ends with its connection has served it");
  tap_int(mb_pool_roll_take(r, 1), first, "its slot is free, too");
  mb_pool_roll_count(r, 0, counts);
  tap_int(counts[MB_CHILD_STARTING], 0, "services are counted apart");
  mb_pool_board_count(b, counts);
  tap_int(counts[MB_CHILD_STARTING] + counts[MB_CHILD_BUSY], 2, "and together");
  int taken = 2;
  while (mb_pool_roll_take(r, 0) >= 0) taken++;
  tap_int(taken, MB_POOL_CHILDREN_MAX, "there is an end to the slots");
  tap_int(mb_pool_roll_children(r), MB_POOL_CHILDREN_MAX, "all of them are counted");
  b->slots[second].kept_until = 100;
  b->slots[first].kept_until = 50;
  r->members[first].service = r->members[second].service = 2;
  b->slots[second].state = MB_CHILD_KEPT;
  tap_int(mb_pool_roll_kept_longest(r, 2, 99), 0, "a kept connection that was silent too shortly");
  tap_int(mb_pool_roll_kept_longest(r, 2, 100), 1002, "and long enough");
  r->members[first].pid = 1001;
  b->slots[first].state = MB_CHILD_KEPT;
  tap_int(mb_pool_roll_kept_longest(r, 2, 100), 1001, "the one that waits longest comes first");
  tap_int(mb_pool_roll_kept_longest(r, 0, 100), 0, "one of another service does not count");

  scribble(r);
  tap_int(mb_pool_roll_find(r, 1002), second, "who is who does not depend on what a child writes");
  mb_pool_board_count(b, counts);
  tap_int(counts[MB_CHILD_BUSY], MB_POOL_CHILDREN_MAX, "no state that is none is counted as one");
  b->slots[second].state = MB_CHILD_NONE;
  mb_pool_roll_count(r, 2, counts);
  tap_int(counts[MB_CHILD_BUSY], 2,
          "a child that says that it is not there is counted all the same");
  tap_int(mb_pool_roll_give(r, second), MB_CHILD_BUSY, "a slot with such a state is given back");
  tap_int(mb_pool_roll_children(r), MB_POOL_CHILDREN_MAX - 1, "and is free");
  mb_pool_board_free(b);
  free(r);
  return tap_done();
}
