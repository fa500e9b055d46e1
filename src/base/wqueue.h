/*
 * Output queue: the bytes that the script has written and the system has not yet taken. It grows
 * without limit, a block at a time, and gives memory back as it drains.
 */
#ifndef MB_WQUEUE_H
#define MB_WQUEUE_H

#include <stddef.h>
#include <sys/uio.h>

#include "base/alloc.h"

struct mb_wqueue_block;

struct mb_wqueue {
  struct mb_wqueue_block *first, *last;
  size_t len; /* bytes in the queue */
};

/* Appends a copy of the bytes. Returns 0, or -ENOMEM with the queue as it was. */
int mb_wqueue_append(struct mb_wqueue *q, struct mb_alloc *a, const char *data, size_t len);

/*
 * Describes the front of the queue for writev(2), in at most max pieces. Returns the number of
 * pieces.
 */
int mb_wqueue_pieces(const struct mb_wqueue *q, struct iovec *pieces, int max);

/* Removes n bytes (at most q->len), which the system has taken, from the front. */
void mb_wqueue_sent(struct mb_wqueue *q, struct mb_alloc *a, size_t n);

/* Drops everything and frees the memory. */
void mb_wqueue_free(struct mb_wqueue *q, struct mb_alloc *a);

#endif
