/* Dates of HTTP (RFC 9110, section 5.6.7), and the Date field (section 6.6.1). */
#ifndef MB_HTTP_DATE_H
#define MB_HTTP_DATE_H

#include <stdbool.h>
#include <stdint.h>

#include "http/http_span.h"

#define MB_HTTP_DATE_SIZE 30           /* "Sun, 06 Nov 1994 08:49:37 GMT" and its NUL */
#define MB_HTTP_DATE_LAST 253402300799 /* the last second of the year 9999, which has four digits */

/* Returns the field line of the current date, with CR LF. It is valid until the next call. */
const char *mb_http_date_line(void);

/*
 * Writes an IMF-fixdate with its NUL.
 * when  seconds since 1970, from 0 to MB_HTTP_DATE_LAST
 */
void mb_http_date_text(char to[MB_HTTP_DATE_SIZE], int64_t when);

/*
 * Reads a date in one of the three forms: IMF-fixdate, RFC 850, asctime. The name of the day is not compared with the
 * date.
 * now  seconds since 1970: the two digits of a year of RFC 850 mean the latest one that is at most 50 years ahead
 * Returns whether it is a date; *ret: seconds since 1970, negative before that.
 */
bool mb_http_date_parse(struct mb_span text, int64_t now, int64_t *ret);

#endif
