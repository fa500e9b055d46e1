/* What a script prints. Must not change errno. */
#include "base/log_printed.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/log_escape.h"
#include "base/log_line.h"

/*
 * The line that the script has begun. stdout and stderr share it, as they share a terminal: a second one
 * would cost each connection as much again.
 */
static struct {
  char text[MB_LOG_LINE_MAX];
  size_t len;
} line;

/*
 * Writes the first bytes of the line, at every --log-level: that is for messages. The rest stays. What grows
 * by escaping counts as the several lines that it is.
 */
static void write_piece(size_t len, bool ends) {
  size_t written = 0;
  do {
    if (mb_log_count(len - written)) {
      written += mb_log_printed(line.text + written, len - written, ends);
    } else {
      mb_log_end_printed("...");
      written = len;
    }
  } while (written < len);
  line.len -= len;
  /* That is nothing, or less than a character of a line that is full. */
  memcpy(line.text, line.text + len, line.len);
}

static void add(const char *text, size_t len) {
  while (len > 0) {
    if (line.len == sizeof line.text)
      write_piece(line.len - mb_log_unfinished(line.text, line.len), false);
    size_t room = sizeof line.text - line.len;
    size_t n = len < room ? len : room;
    memcpy(line.text + line.len, text, n);
    line.len += n;
    text += n;
    len -= n;
  }
}

void mb_log_flush(void) {
  if (line.len > 0) write_piece(line.len, true);
  mb_log_tell_dropped();
}

/* Also for a script that ends by os.exit. It may have given stdout a buffer. */
static void at_exit(void) {
  fflush(stdout);
  mb_log_flush();
}

static ssize_t capture_write(void *cookie, const char *text, size_t len) {
  (void)cookie;
  int saved = errno;
  const char *end = text + len;
  while (text < end) {
    const char *newline = memchr(text, '\n', (size_t)(end - text));
    add(text, (size_t)((newline ? newline : end) - text));
    if (newline) write_piece(line.len, true);
    text = newline ? newline + 1 : end;
  }
  errno = saved;
  return (ssize_t)len;
}

int mb_log_capture_stdio(void) {
  static const cookie_io_functions_t sink = {.write = capture_write};
  FILE *file = fopencookie(NULL, "w", sink);
  if (!file) {
    stderr = stdout;
    return -ENOMEM;
  }
  /* We put the line together, not stdio: a signal handler can get at our buffer. */
  setvbuf(file, NULL, _IONBF, 0);
  stdout = stderr = file;
  atexit(at_exit);
  return 0;
}
