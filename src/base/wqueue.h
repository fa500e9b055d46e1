/*
 * Output queue: bytes that were written by the script and not yet taken by the system. Grows
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
 * Describes the front of the queue for writev(2), in at most max pieces. Returns how many it
 * filled.
 */
int mb_wqueue_pieces(const struct mb_wqueue *q, struct iovec *pieces, int max);

/* Removes n bytes (at most q->len) from the front: they were written. */
void mb_wqueue_sent(struct mb_wqueue *q, struct mb_alloc *a, size_t n);

/* Drops everything and frees the memory. */
void mb_wqueue_free(struct mb_wqueue *q, struct mb_alloc *a);

#endif
