/*
 * Lines of the log: the one way to descriptor 2, in the form of what stands there. Never writes to the
 * connection.
 */
#ifndef MB_LOG_LINE_H
#define MB_LOG_LINE_H

#include <stdbool.h>
#include <stddef.h>

enum mb_log_target {
  MB_LOG_PLAIN,   /* stderr, one line a message: "mb-handle: text" */
  MB_LOG_JOURNAL, /* stderr is a journal stream: "<3>text" */
  MB_LOG_SYSLOG,  /* fd 2 is a datagram socket to /dev/log: "<11>mb-handle[pid]: text" */
};

/* Syslog daemons and terminals take that much in one piece. */
#define MB_LOG_LINE_MAX 2048

/* Sets what stands on fd 2. It starts as MB_LOG_PLAIN. */
void mb_log_set_target(enum mb_log_target target);

/*
 * Writes one line, given without its newline, as mb_log_show shows it. Changes errno. Async-signal-safe.
 * indent  NULL, or what stands before the text
 * size    how many bytes the text has, of which `len` are given. When not all of it is written,
 *         "... (N bytes)" follows.
 */
void mb_log_line(int level, const char *indent, const char *text, size_t len, size_t size);

/*
 * Writes a piece of a line that the script has printed. In MB_LOG_PLAIN a long line stays one line, and
 * none begins with our name. Elsewhere a line that is long, or grows long by escaping, is several messages;
 * for the journal's stream none begins with a priority, so that the stream's own holds (SyslogLevel= of
 * systemd.exec(5), by default info); for syslog the level is info. Changes errno. Async-signal-safe.
 * ends  the line ends behind the piece
 * Returns how many bytes of it are written: as many as one message has, when that is less.
 */
size_t mb_log_printed(const char *text, size_t len, bool ends);

/*
 * Writes a line of ASCII without control characters, given without its newline, in one piece whatever its size, as
 * a script would print it: at every --log-level, and with the level info. Changes errno.
 * len  at most MB_LOG_WHOLE_MAX
 */
#define MB_LOG_WHOLE_MAX 4096
void mb_log_whole(const char *text, size_t len);

/* Ends the line of which only a piece is written, if there is one: with this text and a newline. */
void mb_log_end_printed(const char *with);

#endif
