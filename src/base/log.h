/*
 * Messages of the log: our own, and those that a script logs. They go to stderr, with <N> priorities where
 * the journal reads it, or to syslog's socket where we have no stderr.
 */
#ifndef MB_LOG_H
#define MB_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <syslog.h>

/* Sets the least urgent level that is still written (LOG_ERR … LOG_DEBUG). It starts as LOG_NOTICE. */
void mb_log_set_level(int level);

/* Returns whether a message of this level is written. */
bool mb_log_is_wanted(int level);

/*
 * Writes one message, formatted as by printf; it needs no newline at its end. What a client may have sent
 * is escaped (log_escape.h). A message that does not fit into 2 KiB is cut off with "... (N bytes)", its
 * size.
 */
void mb_log(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Writes a text. Each of its lines (a traceback has several) is a message; a tab stands before all but the
 * first, so that nobody takes them for messages of their own. Of a text of more than 40 lines the middle is
 * left out, and the log says how much.
 */
void mb_log_text(int level, const char *text, size_t len);

/* ---- what a script logs, as often as it likes ---- */

/*
 * The limit of a connection's lines: enough for a handler that says what it does, and little enough for a
 * disk when many clients find a handler that says what they send.
 */
enum { MB_LOG_LINES = 1000, MB_LOG_LIMIT_SECONDS = 30 };

/*
 * Begins to count the lines that the script logs and prints: of those that it writes within
 * MB_LOG_LIMIT_SECONDS, `lines` are written; 0: all. Forgets what was counted before.
 */
void mb_log_limit(int lines);

/*
 * Counts one line of the script's, or a piece of one, of this size. Returns false when it is not to be
 * written. Changes errno.
 */
bool mb_log_count(size_t size);

/* Writes a text of the script's, as mb_log_text does; its lines count. */
void mb_log_script(int level, const char *text, size_t len);

/* Writes how many lines were dropped, if any were, and forgets them. Changes errno. Async-signal-safe. */
void mb_log_tell_dropped(void);

#endif
