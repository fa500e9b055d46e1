/* Points in time and spans, in microseconds. A file of its own: tests put another clock in its place. */
#ifndef MB_CLOCK_H
#define MB_CLOCK_H

#include <stdint.h>

#define MB_NO_DEADLINE INT64_MAX

/* Some 30 years. A longer time is a mistake, and would overflow a timer. */
#define MB_SECONDS_MAX 1e9

/* Returns the monotonic time in microseconds. */
int64_t mb_now_usec(void);

/*
 * Returns a number of seconds, at most MB_SECONDS_MAX, as microseconds, rounded up; 0 for a negative
 * number and NaN. mb_now_usec() + mb_usec_of(seconds) is a deadline.
 */
int64_t mb_usec_of(double seconds);

#endif
