/* Input buffer. Does no I/O. */
#include "base/buf.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

int mb_buf_reserve(struct mb_buf *b, struct mb_alloc *a, size_t room) {
  if (b->capacity - b->end >= room) return 0;
  size_t len = mb_buf_len(b);
  if (b->start > 0 && b->capacity - len >= room) {
    memmove(b->data, b->data + b->start, len);
  } else {
    if (room > SIZE_MAX / 2 - len) return -ENOMEM;
    size_t least = len + room;
    /*
     * With doubling, the bytes copied during a long read are proportional to its length. Near the
     * limit of memory we ask for no more than we need.
     */
    size_t wanted = least < b->capacity * 2 ? b->capacity * 2 : least;
    char *grown = mb_alloc(a, b->data, b->capacity, wanted);
    if (!grown) grown = mb_alloc(a, b->data, b->capacity, wanted = least);
    if (!grown) return -ENOMEM;
    b->data = grown;
    b->capacity = wanted;
    if (b->start > 0) memmove(grown, grown + b->start, len);
  }
  b->start = 0;
  b->end = len;
  return 0;
}

size_t mb_buf_find(struct mb_buf *b, unsigned char wanted, size_t limit) {
  size_t len = mb_buf_len(b);
  if (limit > len) limit = len;
  if (b->scanned_for != wanted) {
    b->scanned_for = wanted;
    b->scanned = 0;
  }
  if (limit <= b->scanned) return 0;
  const char *bytes = mb_buf_bytes(b);
  const char *hit = memchr(bytes + b->scanned, wanted, limit - b->scanned);
  if (hit) return (size_t)(hit - bytes) + 1;
  b->scanned = limit;
  return 0;
}

void mb_buf_fit(struct mb_buf *b, struct mb_alloc *a) {
  if (b->end == 0 || b->end == b->capacity) return;
  b->data = mb_alloc(a, b->data, b->capacity, b->end); /* a block never fails to shrink */
  b->capacity = b->end;
}

void mb_buf_take(struct mb_buf *b, size_t n) {
  b->start += n;
  b->scanned = b->scanned > n ? b->scanned - n : 0;
  if (b->start == b->end) b->start = b->end = 0;
}

void mb_buf_cut(struct mb_buf *b, size_t at, size_t n) {
  char *from = b->data + b->start + at;
  memmove(from, from + n, mb_buf_len(b) - at - n);
  b->end -= n;
  b->scanned = 0;
}

void mb_buf_free(struct mb_buf *b, struct mb_alloc *a) {
  mb_alloc(a, b->data, b->capacity, 0);
  *b = MB_BUF_INIT;
}
