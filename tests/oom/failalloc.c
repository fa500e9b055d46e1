/*
 * LD_PRELOAD shim: makes allocations of the program fail with ENOMEM, also those that libc makes for it.
 * FAILALLOC_AT=N       the Nth call of malloc, calloc or realloc fails, counted from the start of main
 * FAILALLOC_MODE=once  only that call fails; from: all later ones fail, too
 * FAILALLOC_HIT=FILE   creates the file when the first call fails
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned long calls, fail_at; /* fail_at 0: not started */
static bool later_too;
static const char *hit;

__attribute__((constructor)) static void start(void) {
  const char *at = getenv("FAILALLOC_AT"), *mode = getenv("FAILALLOC_MODE");
  hit = getenv("FAILALLOC_HIT");
  later_too = mode && strcmp(mode, "from") == 0;
  if (at) fail_at = strtoul(at, NULL, 10);
}

static bool fails(void) {
  if (fail_at == 0) return false;
  calls++;
  if (calls < fail_at || (calls > fail_at && !later_too)) return false;
  if (calls == fail_at && hit) close(open(hit, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  errno = ENOMEM;
  return true;
}

void *malloc(size_t size) {
  static void *(*real)(size_t);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "malloc");
  return fails() ? NULL : real(size);
}

void *calloc(size_t count, size_t size) {
  static void *(*real)(size_t, size_t);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "calloc");
  return fails() ? NULL : real(count, size);
}

void *realloc(void *block, size_t size) {
  static void *(*real)(void *, size_t);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "realloc");
  return fails() ? NULL : real(block, size);
}
