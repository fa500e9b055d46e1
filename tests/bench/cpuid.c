/* Prints the nanoseconds of one CPUID instruction (x86 only): the median of many. */
#include "httpbench.h"

#include <cpuid.h>

#define TIMES 1001

static int compare(const void *a, const void *b) {
  long long x = *(const long long *)a, y = *(const long long *)b;
  return (x > y) - (x < y);
}

int main(void) {
  long long ns[TIMES];
  unsigned a, b, c, d;
  for (int i = 0; i < TIMES; i++) {
    long long begin = now();
    for (int n = 0; n < 10; n++) __cpuid(0, a, b, c, d);
    ns[i] = (now() - begin) / 10;
  }
  qsort(ns, TIMES, sizeof *ns, compare);
  printf("%lld\n", ns[TIMES / 2]);
  return 0;
}
