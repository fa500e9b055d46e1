/* Our own messages. Must never touch the connection, allocate, or change errno. */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048 /* what syslog daemons and terminals take in one piece */

static int log_level = LOG_NOTICE;
static enum mb_log_target log_target = MB_LOG_PLAIN;

void mb_log_set_level(int level) { log_level = level; }

void mb_log_set_target(enum mb_log_target target) { log_target = target; }

bool mb_log_wants(int level) { return level <= log_level; }

/* One line, without its newline, in one write(2): lines of several processes do not mix. */
static void write_line(int level, const char *text, size_t len) {
  char line[LINE_MAX_BYTES + 64];
  size_t at = 0;
  switch (log_target) {
    case MB_LOG_PLAIN:
      at = (size_t)sprintf(line, "mb-handle: ");
      break;
    case MB_LOG_JOURNAL:
      at = (size_t)sprintf(line, "<%d>", level);
      break;
    case MB_LOG_SYSLOG:
      at = (size_t)sprintf(line, "<%d>mb-handle[%ld]: ", LOG_DAEMON | level, (long)getpid());
      break;
  }
  size_t end = sizeof line - 8;
  bool cut = false;
  for (size_t i = 0; i < len && !cut; i++) {
    unsigned char c = (unsigned char)text[i];
    if (at + 4 > end) {
      cut = true;
    } else if ((c < ' ' && c != '\t') || c == 0x7f) {
      at += (size_t)sprintf(line + at, "\\x%02x", c);
    } else {
      line[at++] = (char)c;
    }
  }
  if (cut) {
    memcpy(line + at, "...", 3);
    at += 3;
  }
  if (log_target != MB_LOG_SYSLOG) line[at++] = '\n';
  for (size_t done = 0; done < at;) {
    ssize_t n = write(STDERR_FILENO, line + done, at - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break; /* nowhere left to complain */
    done += (size_t)n;
  }
}

void mb_log(int level, const char *format, ...) {
  if (!mb_log_wants(level)) return;
  int saved = errno;
  char text[LINE_MAX_BYTES];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (n >= (int)sizeof text) memcpy(text + sizeof text - 4, "...", 4);
  if (n >= 0) write_line(level, text, strlen(text));
  errno = saved;
}

void mb_log_text(int level, const char *text, size_t len) {
  if (!mb_log_wants(level)) return;
  int saved = errno;
  const char *end = text + len;
  while (text < end) {
    const char *newline = memchr(text, '\n', (size_t)(end - text));
    const char *stop = newline ? newline : end;
    if (stop > text) write_line(level, text, (size_t)(stop - text));
    text = stop + 1;
  }
  errno = saved;
}

/*
 * A script's own lines are not ours to drop by level: they are written whatever --log-level says.
 */
static ssize_t capture_write(void *cookie, const char *text, size_t len) {
  (void)cookie;
  int level = log_level;
  log_level = LOG_DEBUG;
  mb_log_text(LOG_INFO, text, len);
  log_level = level;
  return (ssize_t)len;
}

void mb_log_capture_stdio(void) {
  static const cookie_io_functions_t sink = {.write = capture_write};
  FILE *out = fopencookie(NULL, "w", sink);
  FILE *err = fopencookie(NULL, "w", sink);
  if (out) {
    setvbuf(out, NULL, _IOLBF, BUFSIZ);
    stdout = out;
  }
  if (err) {
    setvbuf(err, NULL, _IOLBF, BUFSIZ);
    stderr = err;
  }
}
