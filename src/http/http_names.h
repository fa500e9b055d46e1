/*
 * The rule that holds for all strings that a client chooses and a table keeps: names and values of a query, of
 * a form, of cookies, and the elements of a header field. Uses no Lua and does no I/O.
 *
 * Lua 5.3 (luaS_hash) mixes all bytes of a string of up to 31 bytes with a seed that no client knows: no two
 * of them collide for more than about one seed in five. Of a longer one it skips bytes, so that any number of
 * them can be made to collide for all seeds. Each look-up of a key is compared with all of them; and so is
 * each string of up to 40 bytes, key or not, when it is made, as Lua keeps one copy of those.
 */
#ifndef MB_HTTP_NAMES_H
#define MB_HTTP_NAMES_H

#include <stdint.h>

#include "http/http_span.h"

#define MB_HTTP_NAMES_MAX      10000 /* more than any form has; each costs a table */
#define MB_HTTP_NAME_SHORT     31    /* bytes up to which the hash looks at all of them */
#define MB_HTTP_LONG_NAMES_MAX 1000  /* different ones; if all collide, they cost 20 to 40 ms */
#define MB_HTTP_INTERNED       40    /* bytes of a string of which Lua keeps one copy */
#define MB_HTTP_ALIKE_MAX      1000  /* different values that collide */
#define MB_HTTP_NAME_MAX       8192  /* bytes of a name in a query or a form, as in a part */

struct mb_http_names {
  unsigned count, long_ones;
  /* How many values have the same bytes where the hash looks, or share a place in this table by chance. */
  uint16_t alike[256];
};

#define MB_HTTP_NAMES_INIT ((struct mb_http_names){0, 0, {0}})

/*
 * Counts a name.
 * size    of the name, in bytes
 * is_new  whether no name counted before is the same
 * Returns whether the names are still within the limits.
 */
bool mb_http_names_add(struct mb_http_names *names, size_t size, bool is_new);

/*
 * Returns whether a value of this size has to be counted by mb_http_names_value.
 * is_key  whether it is a key of a table, which has a hash whatever its size is
 */
static inline bool mb_http_names_counts(size_t size, bool is_key) {
  return size > MB_HTTP_NAME_SHORT && (is_key || size <= MB_HTTP_INTERNED);
}

/* Counts a value that differs from all values before. Returns whether they are still within the limits. */
bool mb_http_names_value(struct mb_http_names *names, struct mb_span value);

#endif
