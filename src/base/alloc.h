/*
 * The accounts of one Lua state: its memory and that of the buffers beside it (malloc with a limit), and how many
 * objects hold something of the system.
 */
#ifndef MB_ALLOC_H
#define MB_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

struct mb_alloc {
  size_t used;    /* bytes handed out */
  size_t limit;   /* bytes that may be handed out; 0 = no limit */
  bool refused;   /* a block was refused because of the limit */
  size_t holders; /* objects of the script that hold a descriptor or a process */
};

/*
 * Notes whether an object holds a descriptor or a process, which stays open until somebody closes the object, or until
 * it is collected as garbage.
 * holds  the object's own note of that; false at first
 */
static inline void mb_alloc_note(struct mb_alloc *alloc, bool *holds, bool now) {
  if (now && !*holds) alloc->holders++;
  if (!now && *holds) alloc->holders--;
  *holds = now;
}

/*
 * Allocates, resizes or frees a block; has the signature of lua_Alloc.
 *
 * ud     the struct mb_alloc that accounts for the block
 * block  the block to resize or free, or NULL for a new one
 * osize  its size in bytes (ignored for a new block, where Lua passes a type tag)
 * nsize  the size wanted in bytes; 0 frees
 *
 * Returns the block, or NULL when nsize is 0, memory has run out, or the limit would be exceeded;
 * in the last two cases the old block is untouched. A block never fails to shrink.
 */
void *mb_alloc(void *ud, void *block, size_t osize, size_t nsize);

#endif
