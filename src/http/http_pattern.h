/*
 * Lua's patterns (Lua 5.3 manual, section 6.4.1), for the names of fields that clients choose: a search with
 * a limit on its steps. That of Lua takes as many steps as the pattern and the name want, which grows with
 * the square of the name at least when the pattern does not begin with "^". Says only whether there is a
 * match. Uses no Lua and does no I/O.
 */
#ifndef MB_HTTP_PATTERN_H
#define MB_HTTP_PATTERN_H

#include "http/http_span.h"

#define MB_HTTP_PATTERN_CAPTURES 32  /* as Lua has them */
#define MB_HTTP_PATTERN_DEPTH    190 /* repetitions, and twice the captures: Lua has 200 levels */

struct mb_http_pattern_item {
  unsigned char kind;    /* a value of the enum in http_pattern.c */
  char repeat;           /* of a class: '*', '+', '-', '?', or NUL for once */
  unsigned char a, b;    /* the number of a capture, from 0; or the two characters of %b */
  unsigned char set[32]; /* of a class or a frontier: a bit for each character */
};

struct mb_http_pattern {
  bool anchored; /* it begins with "^" */
  size_t count;
  struct mb_http_pattern_item items[];
};

/*
 * Reads a pattern.
 * ret  has room for text.size items
 * Returns NULL, or what is wrong with the pattern. Finds every mistake that Lua may find when it matches.
 */
const char *mb_http_pattern_read(struct mb_span text, struct mb_http_pattern *ret);

/*
 * Searches a text for a pattern.
 * steps  how many steps may be taken; what is left of them afterwards
 * Returns 1 when there is a match, 0 when there is none, -1 when the steps were not enough.
 */
int mb_http_pattern_find(const struct mb_http_pattern *pattern, struct mb_span text,
                         unsigned long *steps);

#endif
