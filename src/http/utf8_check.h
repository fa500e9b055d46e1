/* Checks UTF-8 (RFC 3629) that comes in pieces. Uses no Lua. */
#ifndef MB_UTF8_CHECK_H
#define MB_UTF8_CHECK_H

#include <stdbool.h>
#include <stddef.h>

/* Zeros are the begin of a text. */
struct mb_utf8 {
  unsigned char missing;   /* bytes of a character that are still to come */
  unsigned char low, high; /* the range of the next of them */
};

/* Takes the next bytes of a text. Returns whether it still can be UTF-8. */
bool mb_utf8_take(struct mb_utf8 *state, const char *data, size_t size);

/* Returns whether no character is cut at the end of what was taken. */
static inline bool mb_utf8_is_whole(const struct mb_utf8 *state) { return state->missing == 0; }

#endif
