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

/* Bytes. Where pages are larger than this, MADV_FREE may fail: then the system cannot take them. */
enum { PAGE = 4096 };

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

/* Lets the system have the whole pages of a block; what is in them is lost then. */
static void offer(void *block, size_t size) {
  uintptr_t begin = ((uintptr_t)block + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
  uintptr_t end = ((uintptr_t)block + size) & ~(uintptr_t)(PAGE - 1);
  int kept = errno;
  mb_rare_madvise((void *)begin, end - begin, MADV_FREE);
  errno = kept;
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
  if (!block) block = malloc(size);
  return block || !mb_spare_free() ? block : malloc(size);
}

void *mb_spare_realloc(void *block, size_t osize, size_t nsize) {
  void *moved = nsize > osize ? take(nsize) : NULL;
  if (!moved) {
    moved = realloc(block, nsize);
    return moved || !mb_spare_free() ? moved : realloc(block, nsize);
  }
  memcpy(moved, block, osize);
  if (osize < MB_SPARE_MIN) {
    free(block);
  } else {
    mb_spare_keep(block, osize);
  }
  return moved;
}
