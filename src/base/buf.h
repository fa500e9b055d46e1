/* Input buffer: bytes that have been received and not yet taken, with a search for a terminator. */
#ifndef MB_BUF_H
#define MB_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/alloc.h"

struct mb_buf {
  char *data;
  size_t capacity;
  size_t start; /* first byte not yet taken */
  size_t end;   /* one past the last byte received */
  /*
   * How many bytes from start on are known to hold no `scanned_for`: a search goes on where the last
   * one ended.
   */
  size_t scanned;
  int scanned_for;
};

#define MB_BUF_INIT ((struct mb_buf){.scanned_for = -1})

static inline size_t mb_buf_len(const struct mb_buf *b) { return b->end - b->start; }

/* Returns the first byte not yet taken; NULL for a buffer that was never used. */
static inline const char *mb_buf_bytes(const struct mb_buf *b) {
  return b->data ? b->data + b->start : NULL;
}

/*
 * Makes room for at least `room` more bytes behind the end.
 * Returns 0, or -ENOMEM with the buffer untouched.
 */
int mb_buf_reserve(struct mb_buf *b, struct mb_alloc *a, size_t room);

/* Returns where the next bytes go, and how many fit. */
static inline char *mb_buf_room(struct mb_buf *b, size_t *ret_room) {
  *ret_room = b->capacity - b->end;
  return b->data ? b->data + b->end : NULL;
}

/* Counts n bytes that the caller has put at mb_buf_room. */
static inline void mb_buf_added(struct mb_buf *b, size_t n) { b->end += n; }

/*
 * Looks for a byte among the first `limit` bytes.
 * Returns the length up to and including it, or 0 when it is not there.
 */
size_t mb_buf_find(struct mb_buf *b, unsigned char wanted, size_t limit);

/* Gives back the memory behind the end. */
void mb_buf_fit(struct mb_buf *b, struct mb_alloc *a);

/* Takes n bytes (at most mb_buf_len) from the front. */
void mb_buf_take(struct mb_buf *b, size_t n);

/* Takes n bytes out of the middle: those from the byte `at` on, counted from the front. */
void mb_buf_cut(struct mb_buf *b, size_t at, size_t n);

/* Frees the memory; the buffer is empty and usable again. */
void mb_buf_free(struct mb_buf *b, struct mb_alloc *a);

#endif
