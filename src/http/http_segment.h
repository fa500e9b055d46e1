/* Segments of the path of a URL (RFC 3986, section 3.3), decoded. */
#ifndef MB_HTTP_SEGMENT_H
#define MB_HTTP_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>

#include "http/http_span.h"

/*
 * Decodes a segment. A "+" stays one.
 * to  room for from.size bytes; may be from.data
 * Returns the number of bytes written; -1 when no file and no route can have such a name: it has a NUL or a
 * slash once it is decoded, or it is "." or "..".
 */
ptrdiff_t mb_http_segment_decode(char *to, struct mb_span from);

/* Returns whether a decoded segment can be the name of a file or of a route, or is empty. */
bool mb_http_segment_is_name(struct mb_span segment);

#endif
