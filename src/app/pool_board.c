/* The memory that the processes of a pool share. */
#include "app/pool_board.h"
#include "base/rare.h"

#include <string.h>
#include <sys/mman.h>

struct mb_pool_board *mb_pool_board_new(void) {
  void *at = MB_RARE(mmap)(NULL, sizeof(struct mb_pool_board), PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return at == MAP_FAILED ? NULL : at;
}

void mb_pool_board_free(struct mb_pool_board *board) {
  if (board) MB_RARE(munmap)(board, sizeof *board);
}

int mb_pool_board_take(struct mb_pool_board *board, int service) {
  int n = board->nslots;
  for (int i = 0; i < MB_POOL_CHILDREN_MAX; i++) {
    struct mb_pool_slot *slot = &board->slots[i];
    if (i < n && slot->state != MB_CHILD_NONE) continue;
    slot->served = 0;
    slot->pid = 0;
    slot->service = service;
    slot->state = MB_CHILD_STARTING;
    if (i == n) board->nslots = n + 1;
    return i;
  }
  return -1;
}

enum mb_child_state mb_pool_board_give(struct mb_pool_board *board, int slot) {
  struct mb_pool_slot *s = &board->slots[slot];
  int state = atomic_exchange(&s->state, MB_CHILD_NONE);
  if (state == MB_CHILD_IDLE) atomic_fetch_sub(&board->services[s->service].idle, 1);
  if (atomic_exchange(&s->serving, false)) board->served++;
  return (enum mb_child_state)state;
}

int mb_pool_board_find(const struct mb_pool_board *board, pid_t pid) {
  int n = board->nslots;
  for (int i = 0; i < n; i++) {
    if (board->slots[i].pid == pid && board->slots[i].state != MB_CHILD_NONE) return i;
  }
  return -1;
}

bool mb_pool_board_set(struct mb_pool_board *board, int slot, enum mb_child_state state) {
  struct mb_pool_slot *s = &board->slots[slot];
  int service = s->service;
  int before = atomic_exchange(&s->state, state);
  if (state == MB_CHILD_IDLE && before != MB_CHILD_IDLE) {
    atomic_fetch_add(&board->services[service].idle, 1);
    if (before == MB_CHILD_STARTING) {
      atomic_fetch_add(&board->services[service].prepared, 1);
      return board->services[service].wake_prepared;
    }
  } else if (state != MB_CHILD_IDLE && before == MB_CHILD_IDLE) {
    int left = atomic_fetch_sub(&board->services[service].idle, 1) - 1;
    return left < board->services[service].wake_below;
  }
  return false;
}

void mb_pool_board_count(const struct mb_pool_board *board, int service,
                         int ret_counts[MB_CHILD_KEPT + 1]) {
  memset(ret_counts, 0, (MB_CHILD_KEPT + 1) * sizeof *ret_counts);
  int n = board->nslots;
  for (int i = 0; i < n; i++) {
    const struct mb_pool_slot *s = &board->slots[i];
    if (service < 0 || s->service == service) ret_counts[s->state]++;
  }
}

int mb_pool_board_children(const struct mb_pool_board *board) {
  int counts[MB_CHILD_KEPT + 1];
  mb_pool_board_count(board, -1, counts);
  return counts[MB_CHILD_STARTING] + counts[MB_CHILD_IDLE] + counts[MB_CHILD_BUSY] +
         counts[MB_CHILD_KEPT];
}

pid_t mb_pool_board_kept_longest(const struct mb_pool_board *board, int service, int64_t now) {
  const struct mb_pool_slot *oldest = NULL;
  int n = board->nslots;
  for (int i = 0; i < n; i++) {
    const struct mb_pool_slot *s = &board->slots[i];
    if (s->service != service || s->state != MB_CHILD_KEPT || s->kept_until > now) continue;
    if (!oldest || s->kept_until < oldest->kept_until) oldest = s;
  }
  return oldest ? oldest->pid : 0;
}
