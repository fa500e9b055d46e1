/* src/http/http_condition.c: conditional requests, each field alone and in the order of RFC 9110, section 13.2.2. */
#include "http/http_condition.h"

#include <stdio.h>
#include <string.h>

#include "../../lib/tap.h"

#define NOW    1800000000
#define DATE   "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define AFTER  "Sun, 06 Nov 1994 08:49:38 GMT"
#define TIME   784111777

static const struct mb_http_validators strong = {{"\"a-1\"", 5}, false, TIME},
                                       weak = {{"\"a-1\"", 5}, true, TIME};

/* Reads a head with these field lines. */
static const struct mb_http_head *head_of(const char *fields) {
  static struct mb_http_head head;
  static char text[1024];
  struct mb_http_refusal refusal;
  int size = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", fields);
  if (!mb_http_head_parse(text, (size_t)size, &head, &refusal)) tap_bail(refusal.why);
  return &head;
}

static const struct {
  const char *fields;
  int strong, weak; /* the status for a strong and for a weak etag */
} conditions[] = {
    {"", 200, 200},
    /* If-Match: strong comparison */
    {"If-Match: \"a-1\"\r\n", 200, 412},
    {"If-Match: W/\"a-1\"\r\n", 412, 412},
    {"If-Match: \"b\", \"a-1\"\r\n", 200, 412},
    {"If-Match: \"b\"\r\nIf-Match: \"a-1\"\r\n", 200, 412},
    {"If-Match: *\r\n", 200, 200},
    {"If-Match: \"b\"\r\n", 412, 412},
    {"If-Match: a-1\r\n", 412, 412},
    {"If-Match: \r\n", 412, 412},
    {"If-Match: \"A-1\"\r\n", 412, 412},
    {"If-Match: \"a-1\r\n", 412, 412},
    /* If-None-Match: weak comparison */
    {"If-None-Match: \"a-1\"\r\n", 304, 304},
    {"If-None-Match: W/\"a-1\"\r\n", 304, 304},
    {"If-None-Match: w/\"a-1\"\r\n", 200, 200},
    {"If-None-Match: \"b\",W/\"c\" ,, \"a-1\"\r\n", 304, 304},
    {"If-None-Match: \"b\"\r\nIf-None-Match: \"a-1\"\r\n", 304, 304},
    {"If-None-Match: *\r\n", 304, 304},
    {"If-None-Match: \"b\"\r\n", 200, 200},
    {"If-None-Match: \"a,1\", \"a-1\"\r\n", 304, 304},
    {"If-None-Match: \"a\\\", \"a-1\"\r\n", 304, 304}, /* a backslash escapes nothing in an etag */
    {"If-None-Match: \"b\" x \"a-1\"\r\n", 200, 200},
    {"If-None-Match: \"b\r\n", 200, 200},
    {"If-None-Match: a-1\r\n", 200, 200},
    /* dates */
    {"If-Modified-Since: " DATE "\r\n", 304, 304},
    {"If-Modified-Since: " AFTER "\r\n", 304, 304},
    {"If-Modified-Since: " BEFORE "\r\n", 200, 200},
    {"If-Modified-Since: yesterday\r\n", 200, 200},
    {"If-Modified-Since: " DATE "\r\nIf-Modified-Since: " DATE "\r\n", 200, 200},
    {"If-Unmodified-Since: " DATE "\r\n", 200, 200},
    {"If-Unmodified-Since: " AFTER "\r\n", 200, 200},
    {"If-Unmodified-Since: " BEFORE "\r\n", 412, 412},
    {"If-Unmodified-Since: yesterday\r\n", 200, 200},
    /* the order: an etag comes before a date, If-Match before If-None-Match */
    {"If-Match: \"a-1\"\r\nIf-Unmodified-Since: " BEFORE "\r\n", 200, 412},
    {"If-Match: \"b\"\r\nIf-Unmodified-Since: " AFTER "\r\n", 412, 412},
    {"If-None-Match: \"b\"\r\nIf-Modified-Since: " AFTER "\r\n", 200, 200},
    {"If-None-Match: \"a-1\"\r\nIf-Modified-Since: " BEFORE "\r\n", 304, 304},
    {"If-None-Match: x\r\nIf-Modified-Since: " AFTER "\r\n", 200, 200},
    {"If-Match: \"b\"\r\nIf-None-Match: \"a-1\"\r\n", 412, 412},
    {"If-Match: *\r\nIf-None-Match: \"a-1\"\r\n", 304, 304},
    {"If-Unmodified-Since: " BEFORE "\r\nIf-None-Match: \"a-1\"\r\n", 412, 412},
    {"If-Unmodified-Since: " AFTER "\r\nIf-Modified-Since: " AFTER "\r\n", 304, 304},
};

static const struct {
  const char *fields;
  bool
      strong; /* whether Range counts for a strong etag; for a weak one it counts without If-Range only */
} ranges[] = {
    {"If-Range: \"a-1\"\r\n", true},
    {"If-Range: W/\"a-1\"\r\n", false},
    {"If-Range: \"b\"\r\n", false},
    {"If-Range: \"b\", \"a-1\"\r\n", false},
    {"If-Range: \"a-1\", \"b\"\r\n", false},
    {"If-Range: *\r\n", false},
    {"If-Range: \r\n", false},
    {"If-Range: " DATE "\r\n", true},
    {"If-Range: " AFTER "\r\n", false},
    {"If-Range: " BEFORE "\r\n", false},
    {"If-Range: \"a-1\"\r\nIf-Range: \"a-1\"\r\n", false},
};

int main(void) {
  for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++) {
    const char *fields = conditions[i].fields;
    char name[256];
    snprintf(name, sizeof name, "%s", tap_printable(fields, strlen(fields)));
    tap_int(mb_http_conditions(head_of(fields), &strong, NOW), conditions[i].strong, "%s", name);
    tap_int(mb_http_conditions(head_of(fields), &weak, NOW), conditions[i].weak, "weak: %s", name);
  }
  tap_ok(mb_http_range_counts(head_of(""), &strong, NOW), "Range counts without If-Range");
  tap_ok(mb_http_range_counts(head_of(""), &weak, NOW), "also for a weak etag");
  for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
    const char *fields = ranges[i].fields;
    char name[256];
    snprintf(name, sizeof name, "%s", tap_printable(fields, strlen(fields)));
    tap_int(mb_http_range_counts(head_of(fields), &strong, NOW), ranges[i].strong, "%s", name);
    tap_int(mb_http_range_counts(head_of(fields), &weak, NOW), false, "weak: %s", name);
  }
  return tap_done();
}
