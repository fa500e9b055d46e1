/* Dates of HTTP, as text and as seconds. Makes the Date field of a response. */
#include "http/http_date.h"

#include <stdint.h>
#include <string.h>
#include <time.h>

#define DATE_SIZE MB_HTTP_DATE_SIZE

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

void mb_http_date_text(char to[MB_HTTP_DATE_SIZE], int64_t when) { format_date(to, when); }

/* ---- reading ---- */

static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

struct date {
  unsigned year, month, day, hour, minute, second; /* month and day: from 1 */
};

/* Takes a text from the front. Returns whether it is there. */
static bool take(struct mb_span *from, const char *text) {
  size_t size = strlen(text);
  if (from->size < size || memcmp(from->data, text, size) != 0) return false;
  mb_http_take(from, size);
  return true;
}

/* Takes a number of so many digits from the front. Returns whether it is there. */
static bool take_number(struct mb_span *from, size_t digits, unsigned *ret) {
  unsigned number = 0;
  if (from->size < digits || !mb_http_all((struct mb_span){from->data, digits}, MB_HTTP_DIGIT))
    return false;
  for (size_t i = 0; i < digits; i++) number = number * 10 + (unsigned)(from->data[i] - '0');
  mb_http_take(from, digits);
  *ret = number;
  return true;
}

static bool take_month(struct mb_span *from, unsigned *ret) {
  if (from->size < 3) return false;
  for (unsigned i = 0; i < 12; i++) {
    if (memcmp(from->data, month_names + 3 * i, 3) != 0) continue;
    mb_http_take(from, 3);
    *ret = i + 1;
    return true;
  }
  return false;
}

static bool take_time(struct mb_span *from, struct date *d) {
  return take_number(from, 2, &d->hour) && take(from, ":") && take_number(from, 2, &d->minute) &&
         take(from, ":") && take_number(from, 2, &d->second);
}

/* Takes the name of a day: a whole one ("Sunday"), or its first three letters. Returns whether it is there. */
static bool take_day_name(struct mb_span *from, bool *ret_is_whole) {
  static const char *const names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                      "Thursday", "Friday", "Saturday"};
  for (size_t i = 0; i < 7; i++) {
    *ret_is_whole = take(from, names[i]);
    if (*ret_is_whole) return true;
    if (from->size >= 3 && memcmp(from->data, names[i], 3) == 0) {
      mb_http_take(from, 3);
      return true;
    }
  }
  return false;
}

/* Takes "06 Nov 1994 08:49:37 GMT", the rest of an IMF-fixdate. */
static bool take_fixdate(struct mb_span *from, struct date *d) {
  return take_number(from, 2, &d->day) && take(from, " ") && take_month(from, &d->month) &&
         take(from, " ") && take_number(from, 4, &d->year) && take(from, " ") &&
         take_time(from, d) && take(from, " GMT");
}

/* Takes "06-Nov-94 08:49:37 GMT", the rest of a date of RFC 850. The year is the latest within 50 years from now. */
static bool take_rfc850(struct mb_span *from, int64_t now, struct date *d) {
  unsigned last = 1970 + (unsigned)(now / 31556952) + 50; /* a mean year has so many seconds */
  if (!(take_number(from, 2, &d->day) && take(from, "-") && take_month(from, &d->month) &&
        take(from, "-") && take_number(from, 2, &d->year) && take(from, " ") &&
        take_time(from, d) && take(from, " GMT")))
    return false;
  d->year += last - last % 100;
  if (d->year > last) d->year -= 100;
  return true;
}

/* Takes "Nov  6 08:49:37 1994", the rest of what asctime(3) writes. */
static bool take_asctime(struct mb_span *from, struct date *d) {
  if (!take_month(from, &d->month) || !take(from, " ")) return false;
  size_t digits = take(from, " ") ? 1 : 2;
  return take_number(from, digits, &d->day) && take(from, " ") && take_time(from, d) &&
         take(from, " ") && take_number(from, 4, &d->year);
}

static unsigned days_of(const struct date *d) {
  static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = d->year % 4 == 0 && (d->year % 100 != 0 || d->year % 400 == 0);
  return days[d->month - 1] + (d->month == 2 && leap ? 1u : 0u);
}

/* Returns the seconds since 1970. A year begins in March, as above. */
static int64_t seconds_of(const struct date *d) {
  unsigned month = d->month > 2 ? d->month - 3 : d->month + 9;
  int64_t year = (int64_t)d->year - (d->month <= 2);
  int64_t days =
      365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + d->day - 1 - 719468;
  return ((days * 24 + d->hour) * 60 + d->minute) * 60 + d->second;
}

bool mb_http_date_parse(struct mb_span text, int64_t now, int64_t *ret) {
  struct date d;
  bool is_whole, good;
  if (!take_day_name(&text, &is_whole)) return false;
  if (take(&text, ", ")) {
    good = is_whole ? take_rfc850(&text, now, &d) : take_fixdate(&text, &d);
  } else {
    good = !is_whole && take(&text, " ") && take_asctime(&text, &d);
  }
  if (!good || text.size > 0) return false;
  if (d.year == 0 || d.day == 0 || d.day > days_of(&d)) return false;
  if (d.hour > 23 || d.minute > 59 || d.second > 60) return false; /* 60: a leap second */
  *ret = seconds_of(&d);
  return true;
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
