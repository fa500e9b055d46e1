/* Messages of the log. Must never touch the connection, or change errno. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/fdio.h"
#include "base/log_line.h"

/* A traceback of Lua has at most 23 lines, and stands at the end of an error's text. */
enum { HEAD_LINES = 16, TAIL_LINES = 24 };

#define LIMIT_USEC (MB_LOG_LIMIT_SECONDS * (int64_t)1000000)

static int log_level = LOG_NOTICE;

/* The lines of the script. */
static struct {
  int most;      /* may be written within the time; 0: no limit */
  int written;   /* since `began` */
  int64_t began; /* monotonic microseconds */
  size_t dropped, dropped_bytes;
} limit;

void mb_log_set_level(int level) { log_level = level; }

bool mb_log_is_wanted(int level) { return level <= log_level; }

void mb_log(int level, const char *format, ...) {
  if (!mb_log_is_wanted(level)) return;
  int saved = errno;
  char text[MB_LOG_LINE_MAX];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (n >= 0) mb_log_line(level, NULL, text, strlen(text), (size_t)n);
  errno = saved;
}

/* Returns where the last lines of a text begin. */
static const char *tail_of(const char *text, const char *end) {
  const char *at = end;
  if (at > text && at[-1] == '\n') at--; /* it ends the last line */
  for (int lines = 0; (at = memrchr(text, '\n', (size_t)(at - text))) != NULL;) {
    if (++lines == TAIL_LINES) return at + 1;
  }
  return text;
}

static void write_text(int level, const char *text, size_t size, bool is_counted) {
  if (!mb_log_is_wanted(level)) return;
  int saved = errno;
  const char *end = text + size;
  const char *tail = tail_of(text, end);
  for (int lines = 0; text < end;) {
    if (lines == HEAD_LINES && text < tail) {
      char left_out[64];
      int n = sprintf(left_out, "... (%zu of %zu bytes are left out)", (size_t)(tail - text), size);
      if (!is_counted || mb_log_count((size_t)n))
        mb_log_line(level, "\t", left_out, (size_t)n, (size_t)n);
      text = tail;
    }
    const char *newline = memchr(text, '\n', (size_t)(end - text));
    size_t len = (size_t)((newline ? newline : end) - text);
    if (len > 0 && (!is_counted || mb_log_count(len)))
      mb_log_line(level, lines > 0 && *text != '\t' ? "\t" : NULL, text, len, len);
    if (len > 0) lines++;
    text += len + 1;
  }
  errno = saved;
}

void mb_log_text(int level, const char *text, size_t len) { write_text(level, text, len, false); }

void mb_log_script(int level, const char *text, size_t len) { write_text(level, text, len, true); }

void mb_log_limit(int lines) {
  limit.most = lines;
  limit.written = 0;
  limit.dropped = limit.dropped_bytes = 0;
}

bool mb_log_count(size_t size) {
  if (limit.most == 0) return true;
  if (limit.written == 0) limit.began = mb_now_usec();
  if (limit.written >= limit.most) {
    int64_t now = mb_now_usec();
    if (now - limit.began < LIMIT_USEC) {
      limit.dropped++;
      limit.dropped_bytes += size;
      return false;
    }
    mb_log_tell_dropped();
    limit.began = now;
    limit.written = 0;
  }
  limit.written++;
  return true;
}

void mb_log_tell_dropped(void) {
  if (limit.dropped == 0) return;
  char text[160];
  int n = sprintf(text,
                  "lines dropped: %zu, with %zu bytes: the script logs more than %d within %d s "
                  "(--log-lines)",
                  limit.dropped, limit.dropped_bytes, limit.most, MB_LOG_LIMIT_SECONDS);
  limit.dropped = limit.dropped_bytes = 0;
  /* At every --log-level, as the lines would have been. */
  mb_log_line(LOG_WARNING, NULL, text, (size_t)n, (size_t)n);
}
