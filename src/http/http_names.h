/*
 * The rule that holds for all names that a client chooses and that become keys of Lua's tables: those of a
 * query, of a form, of cookies, and the elements of a header field. Uses no Lua and does no I/O.
 *
 * Lua 5.3 (luaS_hash) mixes all bytes of a name of up to 31 bytes with a seed that no client knows: no two
 * such names collide for more than about one seed in five. Of a longer name it skips bytes, so that any
 * number of them can be made to collide for all seeds, and each look-up is compared with all of them.
 */
#ifndef MB_HTTP_NAMES_H
#define MB_HTTP_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#define MB_HTTP_NAMES_MAX      10000 /* more than any form has; each costs a table */
#define MB_HTTP_NAME_SHORT     31    /* bytes up to which the hash looks at all of them */
#define MB_HTTP_LONG_NAMES_MAX 1000  /* different ones; if all collide, they cost some 20 ms */
#define MB_HTTP_NAME_MAX       8192  /* bytes of a name in a query or a form, as in a part */

struct mb_http_names {
  unsigned count, long_ones;
};

#define MB_HTTP_NAMES_INIT ((struct mb_http_names){0, 0})

/*
 * Counts a name.
 * size    of the name, in bytes
 * is_new  whether no name counted before is the same
 * Returns whether the names are still within the limits.
 */
bool mb_http_names_add(struct mb_http_names *names, size_t size, bool is_new);

#endif
