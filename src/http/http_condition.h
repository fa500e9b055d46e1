/* Conditional requests: If-Match, If-None-Match, If-Modified-Since and their like (RFC 9110, section 13). */
#ifndef MB_HTTP_CONDITION_H
#define MB_HTTP_CONDITION_H

#include <stdbool.h>
#include <stdint.h>

#include "http/http_head.h"

/* What tells one version of a file from another. */
struct mb_http_validators {
  struct mb_span etag; /* with its quotes, without W/ */
  bool is_weak;        /* the file may change without another etag or date */
  int64_t modified;    /* seconds since 1970 */
};

enum mb_http_condition {
  MB_HTTP_CONDITION_HOLDS = 200,
  MB_HTTP_NOT_MODIFIED = 304,
  MB_HTTP_CONDITION_FAILED = 412,
};

/*
 * Checks the conditions of a GET or HEAD, in the order of section 13.2.2, without If-Range.
 * now  seconds since 1970, for mb_http_date_parse
 */
enum mb_http_condition mb_http_conditions(const struct mb_http_head *head,
                                          const struct mb_http_validators *v, int64_t now);

/* Returns whether Range counts: there is no If-Range, or it names this very version (section 13.1.5). */
bool mb_http_range_counts(const struct mb_http_head *head, const struct mb_http_validators *v,
                          int64_t now);

/* Returns the only field that has a name (given in lower case); NULL when there is none, or several. */
const struct mb_http_field *mb_http_head_only(const struct mb_http_head *head, const char *name);

/*
 * Compares etags with a list of them, the value of a field; "*" is in no list.
 * strong  the strong comparison (RFC 9110, section 8.8.3.2), in which a weak etag is like no other
 */
bool mb_http_etag_is_in(struct mb_span list, const struct mb_http_validators *v, bool strong);

#endif
