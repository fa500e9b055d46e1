/*
 * Raw DEFLATE (RFC 1951) by zlib (Debian's zlib1g), one message after the other, as permessage-deflate has it
 * (RFC 7692). The library is loaded when it is first asked for: few scripts need it, and no start pays for it.
 * mb-handle-static cannot load it.
 */
#ifndef MB_ZLIB_H
#define MB_ZLIB_H

#include <stdbool.h>
#include <stddef.h>

#include "base/alloc.h"
#include "base/buf.h"

enum {
  MB_ZLIB_BITS_MIN = 8, /* of a window: it has 2^bits bytes */
  MB_ZLIB_BITS_MAX = 15,
};

/* One direction of a connection: what compresses, or what decompresses. */
struct mb_zlib;

/*
 * Loads the library, unless it is there. A process that has locked itself, or has no descriptors left, cannot.
 * Returns NULL, or why it is not there: a sentence.
 */
const char *mb_zlib_load(void);

/*
 * Makes what compresses, or what decompresses. The library has been loaded. All memory is taken here: a call that
 * works on data needs no more.
 * alloc  accounts for the memory; has to live as long as the result
 * bits   of the window. zlib cannot compress with 8. With 9 it refers to the last 250 bytes at most (512 without its
 *        MIN_LOOKAHEAD), so that 8 is done with 9
 * Returns NULL when memory has run out.
 */
struct mb_zlib *mb_zlib_deflater(struct mb_alloc *alloc, int bits);
struct mb_zlib *mb_zlib_inflater(struct mb_alloc *alloc, int bits);

/* Frees one of them; NULL: does nothing. */
void mb_zlib_free(struct mb_zlib *z);

/*
 * Compresses a message, which is not empty, and puts it behind what is in `to`, without the four bytes that each ends
 * with (RFC 7692, section 7.2.1).
 * Returns 0; or -ENOMEM, when z is of no use any more: nobody can read what comes next without what is lost.
 */
int mb_zlib_deflate(struct mb_zlib *z, const char *data, size_t size, struct mb_buf *to);

/*
 * Decompresses a piece of a message. A block that is called the last may be followed by others (RFC 7692, section
 * 7.2.3.4).
 * ret_used  gets how many bytes of data were used: not all of them when there is no room
 * ret_made  gets how many bytes were put at `to`. When there was no room for more, a call with the next piece, such as
 *           the end of the message, puts the rest first
 * Returns 0; -EBADMSG when that is not DEFLATE; or -ENOMEM.
 */
int mb_zlib_inflate(struct mb_zlib *z, const char *data, size_t size, char *to, size_t room,
                    size_t *ret_used, size_t *ret_made);

/* Returns whether the last byte that was used is the end of a block, as it has to be at the end of a message. */
bool mb_zlib_is_at_end(const struct mb_zlib *z);

#endif
