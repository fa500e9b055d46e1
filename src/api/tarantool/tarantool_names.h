/*
 * Numbers of <sys/socket.h>, <netinet/in.h> and <netdb.h>, with the names that mb.tarantool's callers write.
 * Knows nothing of Lua.
 */
#ifndef MB_TARANTOOL_NAMES_H
#define MB_TARANTOOL_NAMES_H

#include <stdbool.h>

/*
 * A table ends with an empty name. If a number has several names, its first is the one that we write. The
 * names are in place: each pointer would cost every start of the program a relocation.
 */
struct mb_tarantool_name {
  char name[16];
  int number;
};

extern const struct mb_tarantool_name mb_tarantool_families[];      /* AF_INET, PF_INET, … */
extern const struct mb_tarantool_name mb_tarantool_types[];         /* SOCK_STREAM, … */
extern const struct mb_tarantool_name mb_tarantool_address_flags[]; /* AI_PASSIVE, … */
extern const struct mb_tarantool_name mb_tarantool_message_flags[]; /* MSG_PEEK, … */
extern const struct mb_tarantool_name mb_tarantool_directions[];    /* of shutdown: R, WRITE, … */

/* Looks a name up. Returns false when it is not in the table. */
bool mb_tarantool_number(const struct mb_tarantool_name *table, const char *name, int *ret_number);

/* Returns the name of a number, or NULL. */
const char *mb_tarantool_name(const struct mb_tarantool_name *table, int number);

/* Do the same for protocols: look first in our table, then in /etc/protocols. */
bool mb_tarantool_protocol_number(const char *name, int *ret_number);
const char *mb_tarantool_protocol_name(int number);

#endif
