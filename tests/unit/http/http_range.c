/* src/http/http_range.c: what of a file a Range field asks for, and when it has no effect or is refused. */
#include "http/http_range.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/tap.h"

/* The result as text: "0-4,7-9", "none" or "wrong". The value lies in memory of exactly its size. */
static const char *read_value(const char *value, uint64_t size) {
  static char text[1024];
  struct mb_http_range ranges[MB_HTTP_RANGES_MAX];
  size_t length = strlen(value), at = 0;
  char *copy = malloc(length > 0 ? length : 1);
  if (!copy) tap_bail("no memory");
  memcpy(copy, value, length);
  int count = mb_http_ranges_read((struct mb_span){copy, length}, size, ranges);
  free(copy);
  if (count == MB_HTTP_RANGES_NONE) return "none";
  if (count == MB_HTTP_RANGES_WRONG) return "wrong";
  for (int i = 0; i < count; i++) {
    at += (size_t)snprintf(text + at, sizeof text - at, "%s%llu-%llu", i > 0 ? "," : "",
                           (unsigned long long)ranges[i].first, (unsigned long long)ranges[i].last);
  }
  return text;
}

static const struct {
  const char *value;
  uint64_t size;
  const char *want;
} cases[] = {
    {"bytes=0-4", 10, "0-4"},
    {"bytes=0-0", 10, "0-0"},
    {"bytes=9-9", 10, "9-9"},
    {"bytes=5-", 10, "5-9"},
    {"bytes=0-", 10, "0-9"},
    {"bytes=0-9", 10, "0-9"},
    {"bytes=0-10", 10, "0-9"},
    {"bytes=-3", 10, "7-9"},
    {"bytes=-10", 10, "0-9"},
    {"bytes=-11", 10, "0-9"},
    {"BYTES=0-4", 10, "0-4"},
    {"bytes= 0-4 , 6-7 ", 10, "0-4,6-7"},
    {"bytes=,,0-4,,6-7,", 10, "0-4,6-7"},
    {"bytes=6-7,0-4", 10, "6-7,0-4"},
    {"bytes=0-4,20-30", 10, "0-4"},
    {"bytes=0-4,-1", 10, "0-4,9-9"},
    {"bytes=007-008", 10, "7-8"},
    {"bytes=5000000000-5000000001", 6000000000, "5000000000-5000000001"},
    {"bytes=-18446744073709551615", 10, "0-9"},
    {"bytes=0-99999999999999999999999999", 10, "0-9"},
    {"bytes=1-18446744073709551616", 10, "1-9"},
    /* no byte of the file */
    {"bytes=10-", 10, "wrong"},
    {"bytes=10-20", 10, "wrong"},
    {"bytes=-0", 10, "wrong"},
    {"bytes=99999999999999999999999999-", 10, "wrong"},
    {"bytes=20-,30-", 10, "wrong"},
    /* malformed */
    {"bytes=", 10, "wrong"},
    {"bytes=-", 10, "wrong"},
    {"bytes=5-4", 10, "wrong"},
    {"bytes=a-b", 10, "wrong"},
    {"bytes=0x1-2", 10, "wrong"},
    {"bytes=1", 10, "wrong"},
    {"bytes=1-2-3", 10, "wrong"},
    {"bytes=--1", 10, "wrong"},
    {"bytes=1 - 2", 10, "wrong"},
    {"bytes=+1-2", 10, "wrong"},
    {"bytes=0-4;5-6", 10, "wrong"},
    {"bytes=0-4,x", 10, "wrong"},
    {"bytes=0-1 2-3", 10, "wrong"},
    /* without effect: another unit, no value */
    {"items=0-4", 10, "none"},
    {"bytes", 10, "none"},
    {"", 10, "none"},
    {"bytes =0-4", 10, "none"},
    /* without effect: more than the file */
    {"bytes=0-,0-", 10, "none"},
    {"bytes=0-5,4-9", 10, "none"},
    {"bytes=0-4,5-9", 10, "0-4,5-9"},
    {"bytes=0-4,0-4", 10, "0-4,0-4"},
    /* without effect: an empty file */
    {"bytes=0-", 0, "none"},
    {"bytes=-5", 0, "none"},
    {"bytes=3-4", 0, "none"},
    {"bytes=x", 0, "wrong"},
};

int main(void) {
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    tap_str(read_value(cases[i].value, cases[i].size), cases[i].want, "%s of %llu", cases[i].value,
            (unsigned long long)cases[i].size);
  char many[256] = "bytes=";
  for (int i = 0; i < MB_HTTP_RANGES_MAX; i++) strcat(many, "1-1,");
  tap_ok(strcmp(read_value(many, 1000), "none") != 0, "as many ranges as are allowed");
  strcat(many, "1-1");
  tap_str(read_value(many, 1000), "none", "one more has no effect");
  strcat(many, ",x");
  tap_str(read_value(many, 1000), "none", "behind that nothing is read");
  return tap_done();
}
