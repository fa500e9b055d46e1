/* TAP for the unit tests in C. Writes to stdout only. */
#include "tap.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int count, failed;

static void report(bool holds, const char *format, va_list args) {
  count++;
  if (!holds) failed++;
  printf("%sok %d - ", holds ? "" : "not ", count);
  vprintf(format, args);
  putchar('\n');
  fflush(stdout);
}

void tap_ok(bool holds, const char *format, ...) {
  va_list args;
  va_start(args, format);
  report(holds, format, args);
  va_end(args);
}

void tap_int(long long got, long long want, const char *format, ...) {
  va_list args;
  va_start(args, format);
  report(got == want, format, args);
  va_end(args);
  if (got != want) printf("#   got %lld, expected %lld\n", got, want);
}

void tap_str(const char *got, const char *want, const char *format, ...) {
  bool same = got && want ? strcmp(got, want) == 0 : got == want;
  va_list args;
  va_start(args, format);
  report(same, format, args);
  va_end(args);
  if (!same)
    printf("#   got \"%s\", expected \"%s\"\n", got ? got : "(NULL)", want ? want : "(NULL)");
}

void tap_bytes(const void *got, size_t got_len, const void *want, size_t want_len,
               const char *format, ...) {
  bool same = got_len == want_len && memcmp(got, want, want_len) == 0;
  va_list args;
  va_start(args, format);
  report(same, format, args);
  va_end(args);
  if (!same) printf("#   got %zu bytes, expected %zu, or other ones\n", got_len, want_len);
}

unsigned tap_step(unsigned coarse) {
  const char *valgrind = getenv("MB_VALGRIND");
  return valgrind && strcmp(valgrind, "true") == 0 ? coarse : 1;
}

int tap_done(void) {
  printf("1..%d\n", count);
  return failed ? 1 : 0;
}

void tap_bail(const char *why) {
  printf("Bail out! %s\n", why);
  exit(1);
}

const char *tap_printable(const char *data, size_t size) {
  static char text[256];
  size_t at = 0;
  for (size_t i = 0; i < size && at < sizeof text - 5; i++) {
    bool plain = data[i] >= ' ' && data[i] < 0x7f && data[i] != '#' && data[i] != '\\';
    at += (size_t)snprintf(text + at, 5, plain ? "%c" : "\\x%02x", (unsigned char)data[i]);
  }
  return text;
}
