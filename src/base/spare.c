/* Keeps a few large blocks that were freed. They are in no account. */
#include "base/spare.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/rare.h"

/* For a message that comes, and for the string that it becomes. */
enum { SPARES = 2 };

/* Bytes. Where pages are larger than this, advice may fail; then nothing comes of it. */
enum { PAGE = 4096 };

/* From this size on, in bytes, a block is mostly whole huge pages. */
enum { HUGE_MIN = 4 << 20 };

static struct {
  void *block;
  size_t size;
} spares[SPARES];

/* Returns a block with room for `size` bytes, and for at most twice as many; or NULL. */
static void *take(size_t size) {
  int best = -1;
  for (int i = 0; i < SPARES; i++) {
    bool fits = spares[i].block && spares[i].size >= size && spares[i].size / 2 <= size;
    if (fits && (best < 0 || spares[i].size < spares[best].size)) best = i;
  }
  if (best < 0) return NULL;
  void *block = spares[best].block;
  spares[best].block = NULL;
  return block;
}

static void advise(uintptr_t begin, uintptr_t end, int advice) {
  int kept = errno;
  begin &= ~(uintptr_t)(PAGE - 1);
  end &= ~(uintptr_t)(PAGE - 1);
  mb_rare_madvise((void *)begin, end - begin, advice);
  errno = kept;
}

/* Lets the system have the pages that are within a block; what is in them is lost then. */
static void offer(void *block, size_t size) {
  advise((uintptr_t)block + PAGE - 1, (uintptr_t)block + size, MADV_FREE);
}

/*
 * Asks for huge pages for a new block of malloc, if there is one: it is copied from and to in two thirds of the time
 * then. The advice covers all of its mapping, as mremap(2) moves no part of one. Returns the block.
 */
static void *with_huge_pages(void *block, size_t size) {
  if (block && size >= HUGE_MIN)
    advise((uintptr_t)block, (uintptr_t)block + size + PAGE - 1, MADV_HUGEPAGE);
  return block;
}

/* The index of a place that is empty, or has the smallest block. */
static int least_place(void) {
  int at = 0;
  for (int i = 1; i < SPARES && spares[at].block; i++) {
    if (!spares[i].block || spares[i].size < spares[at].size) at = i;
  }
  return at;
}

void mb_spare_keep(void *block, size_t size) {
  int at = least_place();
  if (size > MB_SPARE_MAX || (spares[at].block && size < spares[at].size)) {
    free(block);
    return;
  }
  free(spares[at].block);
  spares[at].block = block;
  spares[at].size = size;
  offer(block, size);
}

bool mb_spare_free(void) {
  bool any = false;
  for (int i = 0; i < SPARES; i++) {
    any = any || spares[i].block;
    free(spares[i].block);
    spares[i].block = NULL;
  }
  return any;
}

void *mb_spare_malloc(size_t size) {
  void *block = take(size);
  if (block) return block;
  block = malloc(size);
  if (!block && mb_spare_free()) block = malloc(size);
  return with_huge_pages(block, size);
}

void *mb_spare_realloc(void *block, size_t osize, size_t nsize) {
  void *moved = nsize > osize ? take(nsize) : NULL;
  if (!moved) {
    moved = realloc(block, nsize);
    if (!moved && mb_spare_free()) moved = realloc(block, nsize);
    return with_huge_pages(moved, nsize);
  }
  memcpy(moved, block, osize);
  if (osize < MB_SPARE_MIN) {
    free(block);
  } else {
    mb_spare_keep(block, osize);
  }
  return moved;
}
