/* src/app/pool_board.c: what the processes of a pool know of each other, also when one is killed. */
#include "app/pool_board.h"

#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/tap.h"

static int counts[MB_CHILD_KEPT + 1];

static int idle_of(struct mb_pool_board *b, int service) {
  mb_pool_board_count(b, service, counts);
  tap_int(b->services[service].idle, counts[MB_CHILD_IDLE], "the counter is the slots' sum");
  return counts[MB_CHILD_IDLE];
}

int main(void) {
  struct mb_pool_board *b = mb_pool_board_new();
  if (!b) tap_bail("no memory");
  b->services[0].wake_below = 1;
  int first = mb_pool_board_take(b, 0), second = mb_pool_board_take(b, 0);
  tap_ok(first != second && first >= 0 && second >= 0, "two slots");
  b->slots[first].pid = 1001, b->slots[second].pid = 1002;
  tap_int(mb_pool_board_find(b, 1002), second, "a slot is found by its process");
  tap_int(mb_pool_board_find(b, 7), -1, "another process has none");
  tap_ok(!mb_pool_board_set(b, first, MB_CHILD_IDLE), "the first one is ready: nobody is woken");
  mb_pool_board_set(b, second, MB_CHILD_IDLE);
  mb_pool_board_set(b, second, MB_CHILD_IDLE);
  tap_int(idle_of(b, 0), 2, "both are idle");
  tap_ok(!mb_pool_board_set(b, first, MB_CHILD_BUSY), "one is left: nobody is woken");
  tap_ok(mb_pool_board_set(b, second, MB_CHILD_BUSY), "none is left: the parent is woken");
  tap_int(idle_of(b, 0), 0, "none is idle");

  pid_t pid = fork();
  if (pid == 0) {
    mb_pool_board_set(b, first, MB_CHILD_IDLE);
    _exit(0);
  }
  waitpid(pid, NULL, 0);
  tap_int(idle_of(b, 0), 1, "a child's state is seen by its parent");
  uint64_t served = b->served;
  tap_int(mb_pool_board_give(b, first), MB_CHILD_IDLE, "it ends while it is idle");
  tap_int((long long)(b->served - served), 0, "and had no connection");
  tap_int(idle_of(b, 0), 0, "and is no longer counted");
  tap_int(mb_pool_board_take(b, 1), first, "its slot is free again");
  b->slots[first].serving = true;
  mb_pool_board_give(b, first);
  tap_int((long long)(b->served - served), 1, "one that ends with its connection has served it");
  tap_int(mb_pool_board_take(b, 1), first, "its slot is free, too");
  mb_pool_board_count(b, 0, counts);
  tap_int(counts[MB_CHILD_STARTING], 0, "services are counted apart");
  mb_pool_board_count(b, -1, counts);
  tap_int(counts[MB_CHILD_STARTING] + counts[MB_CHILD_BUSY], 2, "and together");
  int taken = 2;
  while (mb_pool_board_take(b, 0) >= 0) taken++;
  tap_int(taken, MB_POOL_CHILDREN_MAX, "there is an end to the slots");
  b->slots[second].kept_until = 100;
  b->slots[first].kept_until = 50;
  b->slots[first].service = b->slots[second].service = 2;
  b->slots[second].state = MB_CHILD_KEPT;
  tap_int(mb_pool_board_kept_longest(b, 2, 99), 0, "a kept connection that was silent too shortly");
  tap_int(mb_pool_board_kept_longest(b, 2, 100), 1002, "and long enough");
  b->slots[first].pid = 1001;
  b->slots[first].state = MB_CHILD_KEPT;
  tap_int(mb_pool_board_kept_longest(b, 2, 100), 1001, "the one that waits longest comes first");
  tap_int(mb_pool_board_kept_longest(b, 0, 100), 0, "one of another service does not count");
  mb_pool_board_free(b);
  return tap_done();
}
