/* src/http/http_segment.c: segments of a path are decoded, and those that lead elsewhere are refused. */
#include "http/http_segment.h"

#include <string.h>

#include "../../lib/tap.h"

static void decodes(const char *from, const char *want, size_t want_size) {
  char to[64];
  size_t size = strlen(from);
  ptrdiff_t got = mb_http_segment_decode(to, (struct mb_span){from, size});
  tap_bytes(to, got < 0 ? 0 : (size_t)got, want, want_size, "\"%s\" is a name", from);
  /* In its own place. */
  memcpy(to, from, size);
  got = mb_http_segment_decode(to, (struct mb_span){to, size});
  tap_bytes(to, got < 0 ? 0 : (size_t)got, want, want_size, "\"%s\" is one in its place, too",
            from);
}

static void refused(const char *from, size_t size) {
  char to[64];
  tap_int(mb_http_segment_decode(to, (struct mb_span){from, size}), -1, "%s is refused",
          tap_printable(from, size));
}

int main(void) {
  static const char *const same[] = {"",    "a",   "...", "..a", "a..", ".a",  "a.",
                                     "a+b", "..;", ".+",  "%",   "%4",  "%4g", "\\"};
  for (size_t i = 0; i < sizeof same / sizeof *same; i++)
    decodes(same[i], same[i], strlen(same[i]));
  decodes("%41%2e%2E", "A..", 3);
  decodes("%2e%2e%2e", "...", 3);
  decodes("%252e", "%2e", 3);
  decodes("%FF%5c", "\xff\\", 2);
  decodes("%2e%20", ". ", 2);
  static const char *const bad[] = {".",   "..",    "%2e", "%2E",   ".%2e", "%2e.", "%2e%2E",
                                    "%2f", "a%2Fb", "%00", "a%00b", "/",    "a/b",  "%2e%2f"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) refused(bad[i], strlen(bad[i]));
  refused("", 1); /* a NUL as it is */
  refused("a\0b", 3);
  refused("..\0", 3);
  return tap_done();
}
