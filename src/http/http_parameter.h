/* Reads parameters behind a field value: "; name=value; name=\"value\"" (RFC 9110, section 5.6.6). Allows
 * blanks around "=", which mail libraries write. */
#ifndef MB_HTTP_PARAMETER_H
#define MB_HTTP_PARAMETER_H

#include "http/http_span.h"

struct mb_http_parameter {
  struct mb_span name, value; /* the value without its quotes, but with its backslashes */
  bool quoted;
};

/*
 * Takes the next parameter from the front of *rest. Passes over empty ones (";;").
 * escapes  whether a backslash in a quoted value escapes a quote or a backslash
 * Returns 1; 0 when *rest is empty; or -1 when no well-formed parameter comes next.
 */
int mb_http_parameter_next(struct mb_span *rest, bool escapes, struct mb_http_parameter *ret);

/* Returns whether the backslash before `behind` escapes a character; otherwise it stands for itself. */
bool mb_http_is_escape(struct mb_span behind);

#endif
