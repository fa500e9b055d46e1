/*
 * Writes our own messages: to stderr, with <N> priorities where the journal reads it, or to syslog's
 * socket where we have no stderr. Never writes to the connection.
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

/* Sets the least urgent level that is still written (LOG_ERR … LOG_DEBUG). It starts as LOG_NOTICE. */
void mb_log_set_level(int level);

/*
 * Copies a text as far as it fits, and ends it with a NUL. As in all messages, \xNN stands for control
 * characters and for bytes that are no UTF-8. Async-signal-safe.
 */
void mb_log_escape(char *to, size_t size, const char *text);

/* Returns whether a message of this level is written. */
bool mb_log_is_wanted(int level);

/* Sets what stands on fd 2. It starts as MB_LOG_PLAIN. */
void mb_log_set_target(enum mb_log_target target);

/*
 * Writes one message, formatted as by printf; it needs no newline at its end. \xNN stands for control
 * characters and for bytes that are no UTF-8, so that nothing a client sent can forge a line or drive
 * a terminal. A message that does not fit into 2 KiB is cut off with "...".
 */
void mb_log(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Writes a text of any length. Each of its lines (a traceback has several) is a message.
 */
void mb_log_text(int level, const char *text, size_t len);

/*
 * If the log is syslog's socket, sends stdout and stderr of the C library there, one message a line.
 * Otherwise does nothing: fds 1 and 2 are right already.
 */
void mb_log_capture_stdio(void);

/* Writes the lines that the script has begun to print and not ended. Async-signal-safe. */
void mb_log_flush(void);

#endif
