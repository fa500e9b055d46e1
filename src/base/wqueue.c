/* Output queue: a list of blocks, filled at the end, written from the front. Does no I/O. */
#include "base/wqueue.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

/*
 * A short answer fits into the first block. More output goes into blocks that are worth a system
 * call each.
 */
#define FIRST_BLOCK_BYTES 4096
#define NEXT_BLOCK_BYTES  65536

struct mb_wqueue_block {
  struct mb_wqueue_block *next;
  size_t capacity, start, end;
  char data[];
};

static size_t size_of(size_t capacity) { return sizeof(struct mb_wqueue_block) + capacity; }

static struct mb_wqueue_block *new_block(struct mb_alloc *a, size_t capacity) {
  if (capacity > SIZE_MAX / 2) return NULL;
  struct mb_wqueue_block *block = mb_alloc(a, NULL, 0, size_of(capacity));
  if (!block) return NULL;
  block->next = NULL;
  block->capacity = capacity;
  block->start = block->end = 0;
  return block;
}

static void put(struct mb_wqueue_block *block, const char *data, size_t len) {
  memcpy(block->data + block->end, data, len);
  block->end += len;
}

int mb_wqueue_append(struct mb_wqueue *q, struct mb_alloc *a, const char *data, size_t len) {
  if (len == 0) return 0;
  size_t fits = q->last ? q->last->capacity - q->last->end : 0;
  if (fits > len) fits = len;
  size_t rest = len - fits;
  struct mb_wqueue_block *block = NULL;
  if (rest > 0) {
    size_t least = q->first ? NEXT_BLOCK_BYTES : FIRST_BLOCK_BYTES;
    block = new_block(a, rest > least ? rest : least);
    if (!block) return -ENOMEM;
    put(block, data + fits, rest);
  }
  if (fits > 0) put(q->last, data, fits);
  if (block) {
    if (q->last) {
      q->last->next = block;
    } else {
      q->first = block;
    }
    q->last = block;
  }
  q->len += len;
  return 0;
}

int mb_wqueue_pieces(const struct mb_wqueue *q, struct iovec *pieces, int max) {
  int n = 0;
  for (struct mb_wqueue_block *block = q->first; block && n < max; block = block->next) {
    if (block->start == block->end) continue;
    pieces[n].iov_base = block->data + block->start;
    pieces[n].iov_len = block->end - block->start;
    n++;
  }
  return n;
}

static void drop_first(struct mb_wqueue *q, struct mb_alloc *a) {
  struct mb_wqueue_block *block = q->first;
  q->first = block->next;
  if (!q->first) q->last = NULL;
  mb_alloc(a, block, size_of(block->capacity), 0);
}

void mb_wqueue_sent(struct mb_wqueue *q, struct mb_alloc *a, size_t n) {
  q->len -= n;
  while (n > 0) {
    struct mb_wqueue_block *block = q->first;
    size_t held = block->end - block->start;
    if (n < held) {
      block->start += n;
      return;
    }
    n -= held;
    block->start = block->end = 0;
    /* The last block stays for the next write if it is small. */
    if (block->next || block->capacity > NEXT_BLOCK_BYTES) drop_first(q, a);
  }
}

void mb_wqueue_free(struct mb_wqueue *q, struct mb_alloc *a) {
  while (q->first) drop_first(q, a);
  q->len = 0;
}
