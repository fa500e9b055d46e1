/* TAP for the unit tests in C: each check is a line "ok N - what". */
#ifndef MB_TAP_H
#define MB_TAP_H

#include <stdbool.h>
#include <stddef.h>

/* Reports a check. The name says what holds. */
void tap_ok(bool holds, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Checks that two integers are the same, and shows both when they are not. */
void tap_int(long long got, long long want, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Checks that two strings are the same; either may be NULL. */
void tap_str(const char *got, const char *want, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Checks that the bytes are the same. */
void tap_bytes(const void *got, size_t got_len, const void *want, size_t want_len,
               const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Returns the step of a loop over all values: 1, or `coarse` under valgrind ($MB_VALGRIND is "true"), which is 50 times
 * slower. */
unsigned tap_step(unsigned coarse);

/* Prints the plan. Returns what main is to return. */
int tap_done(void);

/* Prints "Bail out!" and exits, for a test that cannot go on. */
void tap_bail(const char *why) __attribute__((noreturn));

/* The bytes with what does not print as hexadecimal, as the name of a test; until the next call. */
const char *tap_printable(const char *data, size_t size);

#endif
