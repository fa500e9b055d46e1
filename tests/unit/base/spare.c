/* src/base/spare.c: what it keeps, and for whom; and that src/base/alloc.c uses it. */
#include "base/spare.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/tap.h"
#include "base/alloc.h"

enum { MIB = 1 << 20 };

static void *new_block(size_t size) {
  void *block = malloc(size);
  if (!block) tap_bail("no memory");
  return block;
}

/* Returns how many KiB of this process the system may take at any time. */
static long offered(void) {
  char line[256];
  long kib = -1;
  FILE *file = fopen("/proc/self/smaps_rollup", "r");
  while (file && kib < 0 && fgets(line, sizeof line, file)) {
    if (sscanf(line, "LazyFree: %ld kB", &kib) != 1) kib = -1;
  }
  if (file) fclose(file);
  return kib;
}

/* Returns whether a block of this size is the one that was kept at an address. Nothing of it is kept afterwards. */
static bool serves(uintptr_t at, size_t size) {
  void *block = mb_spare_malloc(size);
  bool is_it = (uintptr_t)block == at;
  memset(block, 'y', size);
  mb_spare_free();
  free(block);
  return is_it;
}

static uintptr_t keep(size_t size) {
  void *block = new_block(size);
  memset(block, 'x', size);
  mb_spare_keep(block, size);
  return (uintptr_t)block;
}

static void test_sizes(void) {
  tap_ok(!mb_spare_free(), "nothing is kept at first");
  errno = EDOM;
  uintptr_t at = keep(8 * MIB);
  tap_int(errno, EDOM, "errno stays");
  tap_ok(offered() > 7 * 1024, "the system may take its pages");
  tap_ok(serves(at, 8 * MIB), "it serves a block of its size");
  tap_ok(serves(keep(8 * MIB), 4 * MIB), "and one of half its size");
  keep(8 * MIB);
  void *less = mb_spare_malloc(4 * MIB - 1), *more = mb_spare_malloc(8 * MIB + 1);
  tap_ok(less && more && mb_spare_free(), "but none that is smaller or larger");
  free(less);
  free(more);
  keep(MB_SPARE_MAX + 1);
  tap_ok(!mb_spare_free(), "a very large block is not kept");
}

static void test_places(void) {
  void *blocks[4];
  uintptr_t at[4];
  for (int i = 0; i < 4; i++) {
    blocks[i] = new_block((size_t)(4 + i) * MIB);
    at[i] = (uintptr_t)blocks[i];
  }
  mb_spare_keep(blocks[0], 4 * MIB);
  mb_spare_keep(blocks[2], 6 * MIB);
  mb_spare_keep(blocks[3], 7 * MIB); /* in the place of the smallest */
  mb_spare_keep(blocks[1], 5 * MIB); /* smaller than those that are there */
  void *six = mb_spare_malloc(4 * MIB), *seven = mb_spare_malloc(4 * MIB);
  tap_ok((uintptr_t)six == at[2] && (uintptr_t)seven == at[3],
         "the two largest blocks are kept, and the smaller one is taken first");
  tap_ok(!mb_spare_free(), "the others are not");
  free(six);
  free(seven);
}

#ifndef __SANITIZE_ADDRESS__ /* without an arena malloc decides */
static void test_alloc(void) {
  struct mb_alloc a = {0};
  char *block = mb_alloc(&a, NULL, 0, 8 * MIB), *small = mb_alloc(&a, NULL, 0, MIB);
  uintptr_t at = (uintptr_t)block;
  if (!block || !small) tap_bail("no memory");
  memset(small, 's', MIB);
  mb_alloc(&a, block, 8 * MIB, 0);
  tap_int((long long)a.used, MIB, "a block that is kept is in no account");
  char *grown = mb_alloc(&a, small, MIB, 8 * MIB);
  tap_ok((uintptr_t)grown == at, "a block grows into the one that was freed");
  tap_ok(grown[0] == 's' && grown[MIB - 1] == 's', "it keeps its bytes");
  tap_int((long long)a.used, 8 * MIB, "the account has its size");
  mb_alloc(&a, grown, 8 * MIB, 0);
  block = mb_alloc(&a, NULL, 0, 7 * MIB);
  tap_ok((uintptr_t)block == at, "a new block is the one that was freed");
  block = mb_alloc(&a, block, 7 * MIB, 2 * MIB);
  block = mb_alloc(&a, block, 2 * MIB, 7 * MIB);
  tap_int((long long)a.used, 7 * MIB, "it shrinks and grows");
  a.limit = 8 * MIB;
  mb_alloc(&a, block, 7 * MIB, 0);
  tap_ok(mb_alloc(&a, NULL, 0, 8 * MIB + 1) == NULL, "the limit holds");
  tap_ok(mb_spare_free(), "a block of the state was kept");
}
#else
static void test_alloc(void) {}
#endif

int main(void) {
  test_sizes();
  test_places();
  test_alloc();
  return tap_done();
}
