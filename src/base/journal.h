/* Messages with fields, in the journal's own protocol. */
#ifndef MB_JOURNAL_H
#define MB_JOURNAL_H

#include <stddef.h>

struct mb_journal_field {
  const char *name;  /* upper-case letters, digits and underscores; no underscore in front */
  const char *value; /* any text */
};

/*
 * Sends one message. Async-signal-safe; waits for nothing.
 * Returns 0, or -errno: -ENOENT or -ECONNREFUSED when there is no journal, -EAGAIN when it does not
 * keep up, -EMSGSIZE for more than 4 KiB.
 * Source: systemd's "Native Journal Protocol", which is stable.
 */
int mb_journal_send(const struct mb_journal_field *fields, size_t count);

#endif
