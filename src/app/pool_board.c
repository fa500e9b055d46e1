/* The memory that the processes of a pool share. */
#include "app/pool_board.h"
#include "base/rare.h"

#include <string.h>
#include <sys/mman.h>

struct mb_pool_board *mb_pool_board_new(void) {
  void *at = MB_RARE_LARGE(mmap)(NULL, sizeof(struct mb_pool_board), PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return at == MAP_FAILED ? NULL : at;
}

void mb_pool_board_free(struct mb_pool_board *board) {
  if (board) MB_RARE(munmap)(board, sizeof *board);
}

enum mb_child_state mb_pool_board_state(const struct mb_pool_board *board, int slot) {
  int state = board->slots[slot].state;
  return state >= MB_CHILD_NONE && state <= MB_CHILD_KEPT ? (enum mb_child_state)state
                                                          : MB_CHILD_BUSY;
}

bool mb_pool_board_set(struct mb_pool_board *board, int slot, int service,
                       enum mb_child_state state) {
  struct mb_pool_slot *s = &board->slots[slot];
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

void mb_pool_board_count(const struct mb_pool_board *board, int ret_counts[MB_CHILD_KEPT + 1]) {
  memset(ret_counts, 0, (MB_CHILD_KEPT + 1) * sizeof *ret_counts);
  int n = board->nslots;
  for (int i = 0; i < n && i < MB_POOL_CHILDREN_MAX; i++)
    ret_counts[mb_pool_board_state(board, i)]++;
}
