/*
 * Reads the chunked transfer coding (RFC 9112, section 7.1) from bytes in any pieces. Checks extensions
 * and trailer fields, and passes them over. Uses no Lua and does no I/O.
 */
#ifndef MB_HTTP_CHUNKED_H
#define MB_HTTP_CHUNKED_H

#include <stdint.h>

#include "http/http_head.h"

/*
 * The most bytes that a line of framing may have, and all extensions and trailers of a body together. A
 * digit of a size beyond the 16 that the largest one needs is a zero, and counts as an extension: otherwise
 * such zeros could make the framing as long as a client likes.
 */
#define MB_HTTP_CHUNK_LINE_MAX  4096
#define MB_HTTP_CHUNK_EXTRA_MAX 16384
#define MB_HTTP_CHUNK_DIGITS    16

struct mb_http_chunked {
  int state;      /* a value of the enum in http_chunked.c */
  uint64_t left;  /* content of this chunk still to come */
  unsigned line;  /* bytes of this line of framing */
  unsigned extra; /* bytes of extensions, trailers, and needless zeros and blanks so far */
};

#define MB_HTTP_CHUNKED_INIT ((struct mb_http_chunked){0})

/*
 * Reads framing from the front of the bytes, up to content or to the end of the bytes.
 * ret_framing  the number of bytes that were framing: they are dealt with
 * ret_content  the number of bytes of content behind them, 0 when none have come yet. The caller may take
 *              fewer, and calls mb_http_chunked_take for those that it took.
 * Returns true, or false with *ret_refusal filled in.
 */
bool mb_http_chunked_next(struct mb_http_chunked *c, const char *data, size_t size,
                          size_t *ret_framing, size_t *ret_content,
                          struct mb_http_refusal *ret_refusal);

/* Counts content bytes that the caller took, at most as many as mb_http_chunked_next said. */
void mb_http_chunked_take(struct mb_http_chunked *c, size_t count);

/* Returns whether the body has ended, with its trailer section. */
bool mb_http_chunked_ended(const struct mb_http_chunked *c);

#endif
