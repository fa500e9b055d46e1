/* Parameters behind a field value, as in "; name=value; name=\"value\"" (RFC 9110, section 5.6.6). */
#ifndef MB_HTTP_PARAMETER_H
#define MB_HTTP_PARAMETER_H

#include "http/http_span.h"

struct mb_http_parameter {
  struct mb_span name, value; /* the value without its quotes, but with its backslashes */
  bool quoted;
};

/*
 * The next parameter, which is taken from the front of *rest; empty ones (";;") are passed over.
 * escapes  whether a backslash in a quoted value escapes a quote or a backslash
 * Returns 1, 0 when there is none, or -1 when there is something else.
 */
int mb_http_parameter_next(struct mb_span *rest, bool escapes, struct mb_http_parameter *ret);

/* Whether a backslash is followed by what it can escape: others stand for themselves. */
bool mb_http_is_escape(struct mb_span behind);

#endif
