/* The monotonic clock. */
#include "base/clock.h"

#include <time.h>

int64_t mb_now_usec(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t mb_usec_of(double seconds) {
  if (!(seconds > 0)) return 0;
  if (seconds > MB_SECONDS_MAX) seconds = MB_SECONDS_MAX;
  int64_t usec = (int64_t)(seconds * 1e6);
  return (double)usec < seconds * 1e6 ? usec + 1 : usec;
}
