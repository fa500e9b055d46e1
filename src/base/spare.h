/*
 * Large blocks of memory that were freed, for the next ones. A page that is touched first takes the system as long as
 * to copy it several times, and a message of a WebSocket with many of them needs two blocks, again and again.
 */
#ifndef MB_SPARE_H
#define MB_SPARE_H

#include <stdbool.h>
#include <stddef.h>

/* A block with fewer bytes is not for here: malloc itself keeps such memory. */
#define MB_SPARE_MIN ((size_t)1 << 20)

/* A block with more bytes goes back to the system at once. */
#define MB_SPARE_MAX ((size_t)1 << 27)

/*
 * Returns a block of at least `size` bytes, which is MB_SPARE_MIN or more: one that was kept if it is not more than
 * twice as large, or a new one; or NULL. It is malloc's: free takes it.
 */
void *mb_spare_malloc(size_t size);

/* Resizes a block of malloc to `nsize` bytes, as realloc does: to MB_SPARE_MIN at least. osize: its size until now. */
void *mb_spare_realloc(void *block, size_t osize, size_t nsize);

/*
 * Takes over a block of malloc that nobody needs any more. Its content is lost: the system may take its pages when it
 * needs memory.
 * size  bytes that the block has room for
 */
void mb_spare_keep(void *block, size_t size);

/* Gives all of them back to the system. Returns whether there were any. */
bool mb_spare_free(void);

#endif
