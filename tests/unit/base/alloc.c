/* src/base/alloc.c: the accounts, and the limit. */
#include "base/alloc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../../lib/tap.h"

enum { BLOCKS = 20000, SIZE_MAX_OF_BLOCKS = 700 };

static struct {
  unsigned char *at;
  size_t size;
} blocks[BLOCKS];

/* Returns whether a block is aligned for every type, and has what was written into it. */
static bool is_whole(size_t i, size_t size) {
  if ((uintptr_t)blocks[i].at % _Alignof(max_align_t) != 0) return false;
  for (size_t k = 0; k < size; k++) {
    if (blocks[i].at[k] != (unsigned char)(i * 31 + 7)) return false;
  }
  return true;
}

static void fill(size_t i) {
  memset(blocks[i].at, (int)(unsigned char)(i * 31 + 7), blocks[i].size);
}

/* More blocks than the arena has room for, of sizes on both sides of its bound, resized up and down, in no order. */
static void test_small_blocks(void) {
  struct mb_alloc a = {0};
  unsigned long long random = 88172645463325252ULL;
  size_t held = 0, wrong = 0;
  for (size_t step = 0; step < (size_t)BLOCKS * 10; step++) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    size_t i = random % BLOCKS, size = (random >> 32) % SIZE_MAX_OF_BLOCKS, before = blocks[i].size;
    unsigned char *at = mb_alloc(&a, blocks[i].at, before, size);
    if (size > 0 && !at) tap_bail("no memory");
    held = held - before + size;
    blocks[i].at = at;
    blocks[i].size = size;
    if (size > 0 && !is_whole(i, before < size ? before : size)) wrong++;
    if (size > 0) fill(i);
  }
  for (size_t i = 0; i < BLOCKS; i++) {
    if (blocks[i].at && !is_whole(i, blocks[i].size)) wrong++;
  }
  tap_int((long long)wrong, 0, "no block is changed by another, and all are aligned");
  tap_int((long long)a.used, (long long)held, "all are counted");
  for (size_t i = 0; i < BLOCKS; i++) mb_alloc(&a, blocks[i].at, blocks[i].size, 0);
  tap_int((long long)a.used, 0, "all are given back");
}

#ifndef __SANITIZE_ADDRESS__ /* without an arena malloc decides */
static void test_reuse(void) {
  struct mb_alloc a = {0};
  void *first = mb_alloc(&a, NULL, 0, 33), *second = mb_alloc(&a, NULL, 0, 33);
  tap_ok(first != second, "two blocks are two");
  mb_alloc(&a, first, 33, 0);
  void *third = mb_alloc(&a, NULL, 0, 40);
  tap_ok(third == first, "a block that was given back serves the next one of about its size");
  tap_ok(mb_alloc(&a, third, 40, 48) == third, "a block that has the room grows where it is");
  mb_alloc(&a, third, 48, 0);
  mb_alloc(&a, second, 33, 0);
}
#else
static void test_reuse(void) {}
#endif

int main(void) {
  struct mb_alloc a = {0};
  char *p = mb_alloc(&a, NULL, 5 /* a type tag of Lua's */, 100);
  tap_ok(p != NULL, "a block is allocated");
  tap_int((long long)a.used, 100, "it is counted, the tag is not");
  memset(p, 'x', 100);
  p = mb_alloc(&a, p, 100, 200);
  tap_int((long long)a.used, 200, "growing is counted");
  tap_ok(p && p[99] == 'x', "growing keeps the bytes");
  p = mb_alloc(&a, p, 200, 50);
  tap_int((long long)a.used, 50, "shrinking is counted");
  tap_ok(mb_alloc(&a, p, 50, SIZE_MAX) == NULL, "a block as large as the address space fails");
  tap_int((long long)a.used, 50, "a failure changes nothing");
  tap_ok(mb_alloc(&a, p, 50, 0) == NULL, "freeing returns NULL");
  tap_int((long long)a.used, 0, "everything is given back");
  tap_ok(mb_alloc(&a, NULL, 0, 0) == NULL, "freeing nothing is allowed");

  a.limit = 100;
  p = mb_alloc(&a, NULL, 0, 60);
  tap_ok(p != NULL, "below the limit");
  tap_ok(mb_alloc(&a, NULL, 0, 41) == NULL, "one byte past the limit fails");
  char *q = mb_alloc(&a, NULL, 0, 40);
  tap_ok(q != NULL, "exactly the limit");
  tap_ok(mb_alloc(&a, p, 60, 61) == NULL, "growing past the limit fails");
  tap_ok(mb_alloc(&a, p, 60, SIZE_MAX) == NULL, "no overflow at the limit");
  a.limit = 10;
  p = mb_alloc(&a, p, 60, 30);
  tap_ok(p != NULL, "shrinking works above a limit that was lowered");
  mb_alloc(&a, p, 30, 0);
  mb_alloc(&a, q, 40, 0);
  tap_int((long long)a.used, 0, "everything is given back");
  test_small_blocks();
  test_reuse();
  return tap_done();
}
