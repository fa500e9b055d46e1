/*
 * Our own messages: to stderr, with <N> priorities where the journal reads it, or to syslog's
 * socket where stderr is gone. Never to the connection.
 */
#ifndef MB_LOG_H
#define MB_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <syslog.h>

enum mb_log_target {
  MB_LOG_PLAIN,   /* stderr, one line a message: "mb-handle: text" */
  MB_LOG_JOURNAL, /* stderr is a journal stream: "<3>text" */
  MB_LOG_SYSLOG,  /* fd 2 is a datagram socket to /dev/log: "<11>mb-handle[pid]: text" */
};

/* Sets the least urgent level that is still written (LOG_ERR … LOG_DEBUG); LOG_NOTICE at start. */
void mb_log_set_level(int level);

/*
 * Copies a text as far as it fits, as messages show it: control characters, and bytes that are no
 * UTF-8, as \xNN. Terminated. Async-signal-safe.
 */
void mb_log_escape(char *to, size_t size, const char *text);

/* Whether a message of this level is written. */
bool mb_log_is_wanted(int level);

/* Says what stands on fd 2; MB_LOG_PLAIN at start. */
void mb_log_set_target(enum mb_log_target target);

/*
 * Writes one message, formatted as by printf; a trailing newline is not needed. Control characters,
 * and bytes that are no UTF-8, are shown as \xNN, so that nothing a client sent can forge a line or drive a terminal. What does
 * not fit into 2 KiB is cut off with "...".
 */
void mb_log(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Writes a text of any length that may hold several lines (a traceback), each as a line of its own.
 */
void mb_log_text(int level, const char *text, size_t len);

/*
 * Where the log is syslog's socket, points the C library's stdout and stderr, and so print, io.write
 * and io.stderr, at it, a line a message. Elsewhere fd 1 and 2 themselves serve, and it does nothing.
 */
void mb_log_capture_stdio(void);

/* Writes what the script has printed of a line that has not ended. Async-signal-safe. */
void mb_log_flush(void);

#endif
