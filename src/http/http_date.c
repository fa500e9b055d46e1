/* Makes the Date field of a response. */
#include "http/http_date.h"

#include <stdint.h>
#include <string.h>
#include <time.h>

#define DATE_SIZE 30 /* "Sun, 06 Nov 1994 08:49:37 GMT" and its NUL */

/* Writes the last two digits of a number. */
static void put_two(char *to, unsigned number) {
  to[0] = (char)('0' + number / 10 % 10);
  to[1] = (char)('0' + number % 10);
}

/*
 * Writes an IMF-fixdate (RFC 9110, section 5.6.7). gmtime and strftime are no help: they read the time
 * zone's file and follow the locale. Here a year begins in March, so that a leap day is its last day.
 */
static void format_date(char text[DATE_SIZE], int64_t when) {
  static const char days[] = "ThuFriSatSunMonTueWed"; /* 1970-01-01 was a Thursday */
  static const char months[] = "MarAprMayJunJulAugSepOctNovDecJanFeb";
  unsigned second = (unsigned)(when % 86400);
  unsigned day = (unsigned)(when / 86400);
  unsigned since = day + 719468;    /* days since 0000-03-01 */
  unsigned in_era = since % 146097; /* an era has 400 years */
  unsigned year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
  unsigned in_year = in_era - (365 * year + year / 4 - year / 100);
  unsigned month = (5 * in_year + 2) / 153; /* 0: March */
  unsigned in_month = in_year - (153 * month + 2) / 5 + 1;
  year += since / 146097 * 400 + (month >= 10);
  memcpy(text, "Sun, 06 Nov 1994 08:49:37 GMT", DATE_SIZE);
  memcpy(text, days + day % 7 * 3, 3);
  put_two(text + 5, in_month);
  memcpy(text + 8, months + month * 3, 3);
  put_two(text + 12, year / 100);
  put_two(text + 14, year);
  put_two(text + 17, second / 3600);
  put_two(text + 20, second / 60 % 60);
  put_two(text + 23, second % 60);
}

/* Makes the line at most once a second. */
const char *mb_http_date_line(void) {
  static time_t made = -1;
  static char line[6 + DATE_SIZE + 2] = "Date: ";
  time_t now = time(NULL);
  if (now != made) {
    format_date(line + 6, now);
    memcpy(line + 6 + DATE_SIZE - 1, "\r\n", 3);
    made = now;
  }
  return line;
}
