/* src/http/http_date.c: dates in three forms become seconds, and seconds become a date; what is no date is refused. */
#include "http/http_date.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../../lib/tap.h"

#define NOW 1800000000 /* in January 2027 */

static struct mb_span span(const char *text) { return (struct mb_span){text, strlen(text)}; }

static void reads(const char *text, long long want) {
  int64_t got = -1;
  bool is_date = mb_http_date_parse(span(text), NOW, &got);
  tap_int(is_date ? got : -999, want, "%s", text);
}

static void refuses(const char *text) {
  int64_t got = 12345;
  bool is_date = mb_http_date_parse(span(text), NOW, &got);
  tap_ok(!is_date && got == 12345, "no date: %s", text);
}

/* As seen by the C library, which is another implementation. */
static void agrees_with_libc(void) {
  unsigned wrong = 0, step = 86400 / 3 * tap_step(50) + 7919;
  for (int64_t when = 0; when <= MB_HTTP_DATE_LAST; when += step * 31LL) {
    char want[64], got[MB_HTTP_DATE_SIZE];
    time_t t = (time_t)when;
    struct tm tm;
    int64_t back = -1;
    gmtime_r(&t, &tm);
    strftime(want, sizeof want, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    mb_http_date_text(got, when);
    if (strcmp(got, want) != 0) wrong++;
    if (!mb_http_date_parse(span(got), NOW, &back) || back != when) wrong++;
    strftime(want, sizeof want, "%a %b %e %H:%M:%S %Y", &tm);
    if (!mb_http_date_parse(span(want), NOW, &back) || back != when) wrong++;
  }
  tap_int(wrong, 0, "all of 1970 to 9999 in steps: as the C library writes them, and back");
}

int main(void) {
  static const char *const wrong[] = {
      "",
      "Sun",
      "Sun,",
      "Sun, 06 Nov 1994 08:49:37",
      "Sun, 06 Nov 1994 08:49:37 UTC",
      "Sun, 06 Nov 1994 08:49:37 GMT ",
      " Sun, 06 Nov 1994 08:49:37 GMT",
      "sun, 06 Nov 1994 08:49:37 GMT",
      "Sun, 06 nov 1994 08:49:37 GMT",
      "Sun, 6 Nov 1994 08:49:37 GMT",
      "Sun, 06 Nov 94 08:49:37 GMT",
      "Sun, 06-Nov-94 08:49:37 GMT",
      "Sunday, 06 Nov 1994 08:49:37 GMT",
      "Sunday Nov  6 08:49:37 1994",
      "Sun Nov 6 08:49:37 1994",
      "Sun Nov  6 08:49:37 1994 GMT",
      "Sun, 00 Nov 1994 08:49:37 GMT",
      "Sun, 31 Nov 1994 08:49:37 GMT",
      "Sun, 29 Feb 1900 08:49:37 GMT",
      "Sun, 29 Feb 2023 08:49:37 GMT",
      "Sun, 06 Nov 0000 08:49:37 GMT",
      "Sun, 06 Nov 1994 24:00:00 GMT",
      "Sun, 06 Nov 1994 08:60:00 GMT",
      "Sun, 06 Nov 1994 08:49:61 GMT",
      "Sun, 06 Nov -994 08:49:37 GMT",
      "Sun, 06 Nov 1994 8:49:37 GMT",
      "784111777",
      "1994-11-06T08:49:37Z",
  };
  reads("Sun, 06 Nov 1994 08:49:37 GMT", 784111777);
  reads("Sunday, 06-Nov-94 08:49:37 GMT", 784111777);
  reads("Sun Nov  6 08:49:37 1994", 784111777);
  reads("Wed Nov 16 08:49:37 1994", 784975777);
  reads("Thu, 01 Jan 1970 00:00:00 GMT", 0);
  reads("Wed, 31 Dec 1969 23:59:59 GMT", -1);
  reads("Tue, 29 Feb 2000 12:00:00 GMT", 951825600);
  reads("Fri, 31 Dec 9999 23:59:59 GMT", MB_HTTP_DATE_LAST);
  reads("Sat, 31 Dec 2016 23:59:60 GMT", 1483228800);
  reads("Mon, 01 Jan 0001 00:00:00 GMT", -62135596800);
  reads("Friday, 01-Jan-77 00:00:00 GMT", 3376684800);  /* 2077: 50 years ahead */
  reads("Sunday, 01-Jan-78 00:00:00 GMT", 252460800);   /* 1978 */
  reads("Saturday, 01-Jan-00 00:00:00 GMT", 946684800); /* 2000 */
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) refuses(wrong[i]);
  int64_t when;
  tap_ok(mb_http_date_parse(span("Sunday, 06-Nov-10 08:49:37 GMT"), 4071000000, &when) &&
             when == 4444706977,
         "two digits of a year in a later century mean the later one");
  for (size_t size = 0; size < 29; size++) {
    struct mb_span part = {"Sun, 06 Nov 1994 08:49:37 GMT", size};
    if (mb_http_date_parse(part, NOW, &when)) tap_ok(false, "%zu bytes of a date are none", size);
  }
  agrees_with_libc();
  return tap_done();
}
