/* Allocator with a limit. Must never abort: running out is a NULL that the caller handles. */
#include "base/alloc.h"

#include <stdint.h>
#include <stdlib.h>

void *mb_alloc(void *ud, void *block, size_t osize, size_t nsize) {
  struct mb_alloc *a = ud;
  size_t held = block ? osize : 0;
  if (nsize == 0) {
    a->used -= held;
    free(block);
    return NULL;
  }
  if (nsize > PTRDIFF_MAX) return NULL; /* no object is larger */
  if (a->limit && nsize > held) {
    size_t others = a->used - held;
    if (others > a->limit || nsize > a->limit - others) {
      a->refused = true;
      return NULL;
    }
  }
  void *grown = realloc(block, nsize);
  if (!grown) {
    /* Lua relies on shrinking to succeed: the larger block serves as well. */
    if (!block || nsize > held) return NULL;
    grown = block;
  }
  a->used = a->used - held + nsize;
  return grown;
}
