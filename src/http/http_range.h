/* The Range field: which bytes of a file a client wants (RFC 9110, section 14). */
#ifndef MB_HTTP_RANGE_H
#define MB_HTTP_RANGE_H

#include <stdint.h>

#include "http/http_span.h"

/* Readers of PDF files ask for some ten ranges at once. Each one costs a header of a part and a system call. */
#define MB_HTTP_RANGES_MAX 16

struct mb_http_range {
  uint64_t first, last; /* positions of bytes, from 0 */
};

enum { MB_HTTP_RANGES_NONE = 0, MB_HTTP_RANGES_WRONG = -1 };

/*
 * Reads the value of a Range field.
 * size  that of the file, in bytes
 * Returns the number of ranges that have bytes of the file, in the client's order. Or MB_HTTP_RANGES_NONE: the field
 * has no effect, because its unit is another one, there are more than MB_HTTP_RANGES_MAX, the ranges together are
 * longer than the file (so they overlap), or the file is empty. Or MB_HTTP_RANGES_WRONG: no range has a byte of the
 * file, or the field is malformed; the answer is 416.
 */
int mb_http_ranges_read(struct mb_span value, uint64_t size,
                        struct mb_http_range ret[MB_HTTP_RANGES_MAX]);

#endif
