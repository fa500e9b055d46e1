/* src/base/alloc.c: the accounts, and the limit. */
#include "base/alloc.h"

#include <stdint.h>
#include <string.h>

#include "../../lib/tap.h"

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
  return tap_done();
}
