/* Who has which slot of the board. */
#include "app/pool_roll.h"

#include <string.h>

/* Returns the state of a child that is there, whatever it has written. */
static enum mb_child_state state_of(const struct mb_pool_roll *roll, int slot) {
  enum mb_child_state state = mb_pool_board_state(roll->board, slot);
  return state == MB_CHILD_NONE ? MB_CHILD_BUSY : state;
}

int mb_pool_roll_take(struct mb_pool_roll *roll, int service) {
  struct mb_pool_board *board = roll->board;
  for (int i = 0; i < MB_POOL_CHILDREN_MAX; i++) {
    if (i < roll->count && roll->members[i].is_there) continue;
    board->slots[i].served = 0;
    board->slots[i].state = MB_CHILD_STARTING;
    roll->members[i] = (struct mb_pool_member){.service = service, .is_there = true};
    if (i == roll->count) roll->count = i + 1;
    board->nslots = roll->count;
    return i;
  }
  return -1;
}

enum mb_child_state mb_pool_roll_give(struct mb_pool_roll *roll, int slot) {
  struct mb_pool_board *board = roll->board;
  enum mb_child_state state = state_of(roll, slot);
  int service = roll->members[slot].service;
  board->slots[slot].state = MB_CHILD_NONE;
  if (state == MB_CHILD_IDLE && service >= 0) atomic_fetch_sub(&board->services[service].idle, 1);
  if (atomic_exchange(&board->slots[slot].serving, false)) board->served++;
  roll->members[slot].is_there = false;
  return state;
}

int mb_pool_roll_find(const struct mb_pool_roll *roll, pid_t pid) {
  for (int i = 0; i < roll->count; i++) {
    if (roll->members[i].is_there && roll->members[i].pid == pid) return i;
  }
  return -1;
}

void mb_pool_roll_count(const struct mb_pool_roll *roll, int service,
                        int ret_counts[MB_CHILD_KEPT + 1]) {
  memset(ret_counts, 0, (MB_CHILD_KEPT + 1) * sizeof *ret_counts);
  for (int i = 0; i < roll->count; i++) {
    const struct mb_pool_member *m = &roll->members[i];
    if (m->is_there && m->service == service) ret_counts[state_of(roll, i)]++;
  }
}

int mb_pool_roll_children(const struct mb_pool_roll *roll) {
  int n = 0;
  for (int i = 0; i < roll->count; i++) n += roll->members[i].is_there;
  return n;
}

pid_t mb_pool_roll_kept_longest(const struct mb_pool_roll *roll, int service, int64_t now) {
  pid_t pid = 0;
  int64_t oldest = now;
  for (int i = 0; i < roll->count; i++) {
    const struct mb_pool_member *m = &roll->members[i];
    int64_t until = roll->board->slots[i].kept_until;
    if (!m->is_there || m->service != service || until > oldest) continue;
    if (mb_pool_board_state(roll->board, i) != MB_CHILD_KEPT || (pid && until == oldest)) continue;
    pid = m->pid;
    oldest = until;
  }
  return pid;
}
