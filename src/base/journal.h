/* Messages with fields, in the journal's own protocol. */
#ifndef MB_JOURNAL_H
#define MB_JOURNAL_H

#include <stddef.h>

struct mb_journal_field {
  const char *name;  /* upper-case letters, digits and underscores; no underscore in front */
  const char *value; /* any text */
};

/*
 * Opens the way to the journal for all messages that follow: a process that has locked itself gets no other. Without it
 * each message has a way of its own. A failure shows when a message is sent.
 */
void mb_journal_open(void);

/*
 * Sends one message. It is async-signal-safe and never waits.
 * Returns 0, or -errno: -ENOENT or -ECONNREFUSED when there is no journal, -EAGAIN when the journal
 * does not keep up, -EMSGSIZE when the message has more than 12 KiB.
 * Source: systemd's "Native Journal Protocol", which is stable.
 */
int mb_journal_send(const struct mb_journal_field *fields, size_t count);

#endif
