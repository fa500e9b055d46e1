/* Allocator with a limit. Must never abort: running out is a NULL that the caller handles. */
#include "base/alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/spare.h"

/*
 * Small blocks come from an arena, which is a part of the program: a start allocates a thousand of them and frees
 * hardly one, and malloc's work for them and the headers of its blocks were a tenth of all its instructions, and three
 * pages. A freed block serves the next one of its size. Where the arena is full, malloc goes on. One arena serves all
 * states of the process. Tools that watch over malloc would not see these blocks: without the arena (0) they see all.
 */
#ifdef __has_feature /* Clang's way to tell; GCC defines __SANITIZE_ADDRESS__ */
#if __has_feature(address_sanitizer)
#define UNDER_SANITIZER
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define UNDER_SANITIZER
#endif

#ifndef MB_ARENA
#ifdef UNDER_SANITIZER
#define MB_ARENA 0
#else
#define MB_ARENA 131072 /* bytes; a page that is never used costs nothing */
#endif
#endif

#if MB_ARENA > 0

enum { STEP = 16, SMALL_MAX = 512 }; /* what malloc aligns to; a larger block is malloc's */

static struct {
  struct freed {
    struct freed *next;
  } * freed[SMALL_MAX / STEP];
  size_t used;
  _Alignas(STEP) unsigned char bytes[MB_ARENA];
} arena;

/* The index of a size in arena.freed: blocks of the same index are alike. */
static size_t class_of(size_t size) { return (size - 1) / STEP; }

static bool is_in_arena(const void *block) {
  return (uintptr_t)block - (uintptr_t)arena.bytes < MB_ARENA;
}

/* Returns a small block, or NULL when the arena is full. */
static void *take(size_t size) {
  size_t class = class_of(size);
  struct freed *block = arena.freed[class];
  if (block) {
    arena.freed[class] = block->next;
    return block;
  }
  size_t room = (class + 1) * STEP;
  if (room > MB_ARENA - arena.used) return NULL;
  unsigned char *fresh = arena.bytes + arena.used;
  arena.used += room;
  return fresh;
}

static void give_back(void *block, size_t size) {
  struct freed *freed = block;
  size_t class = class_of(size);
  freed->next = arena.freed[class];
  arena.freed[class] = freed;
}

static void *new_block(size_t size) {
  void *block = size <= SMALL_MAX ? take(size) : NULL;
  if (block) return block;
  return size < MB_SPARE_MIN ? malloc(size) : mb_spare_malloc(size);
}

static void release(void *block, size_t size) {
  if (is_in_arena(block)) {
    give_back(block, size);
  } else if (size < MB_SPARE_MIN) {
    free(block);
  } else {
    mb_spare_keep(block, size);
  }
}

static void *resize(void *block, size_t osize, size_t nsize) {
  if (!block) return new_block(nsize);
  if (!is_in_arena(block))
    return nsize < MB_SPARE_MIN ? realloc(block, nsize) : mb_spare_realloc(block, osize, nsize);
  if (nsize <= SMALL_MAX && class_of(nsize) == class_of(osize)) return block;
  void *moved = new_block(nsize);
  if (!moved) return NULL;
  memcpy(moved, block, osize < nsize ? osize : nsize);
  give_back(block, osize);
  return moved;
}

#else

static void release(void *block, size_t size) {
  (void)size;
  free(block);
}

static void *resize(void *block, size_t osize, size_t nsize) {
  (void)osize;
  return realloc(block, nsize);
}

#endif

void *mb_alloc(void *ud, void *block, size_t osize, size_t nsize) {
  struct mb_alloc *a = ud;
  size_t held = block ? osize : 0;
  if (nsize == 0) {
    a->used -= held;
    if (block) release(block, osize);
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
  void *resized = resize(block, osize, nsize);
  if (!resized) {
    /* Lua relies on shrinking to succeed: the larger block serves as well. */
    if (!block || nsize > held) return NULL;
    resized = block;
  }
  a->used = a->used - held + nsize;
  return resized;
}
