/* Our own messages. Must never touch the connection, or change errno. */
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINE_MAX_BYTES     2048 /* syslog daemons and terminals take that much in one piece */
#define DAEMON_PATIENCE_MS 1000

static int log_level = LOG_NOTICE;
static enum mb_log_target log_target = MB_LOG_PLAIN;

void mb_log_set_level(int level) { log_level = level; }

void mb_log_set_target(enum mb_log_target target) { log_target = target; }

bool mb_log_is_wanted(int level) { return level <= log_level; }

/* A message that cannot be written is lost: there is nowhere to complain, and we go on serving. */
static void write_all(const char *text, size_t len) {
  while (len > 0) {
    ssize_t n = write(STDERR_FILENO, text, len);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    text += n;
    len -= (size_t)n;
  }
}

/* When the syslog daemon has stopped reading, we wait a second and then drop the message. */
static void send_datagram(const char *text, size_t len) {
  for (int tries = 0; tries < 2; tries++) {
    if (send(STDERR_FILENO, text, len, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return;
    struct pollfd daemon = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (errno != EAGAIN || poll(&daemon, 1, DAEMON_PATIENCE_MS) <= 0) return;
  }
}

/*
 * Returns how many bytes at text can be shown as they are: one character of ASCII or UTF-8 that is no
 * control character (those of C1 are some, too). Returns 0 when the byte has to be escaped.
 */
static size_t shown_as_is(const char *text, const char *end) {
  unsigned char c = (unsigned char)text[0];
  if (c < 0x80) return (c >= ' ' && c != 0x7f) || c == '\t';
  size_t len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
  if (c < 0xc2 || c > 0xf4 || (size_t)(end - text) < len) return 0;
  if (c == 0xc2 && (unsigned char)text[1] < 0xa0) return 0;
  for (size_t i = 1; i < len; i++) {
    if ((text[i] & 0xc0) != 0x80) return 0;
  }
  return len;
}

/*
 * Writes the text up to end, as messages show it, to `to`, which has `room` bytes and gets no NUL at
 * the end. Returns how many bytes it wrote, and sets *text to where it stopped.
 */
static size_t show(char *to, size_t room, const char **text, const char *end) {
  size_t at = 0;
  while (*text < end && at + 4 <= room) {
    size_t as_is = shown_as_is(*text, end);
    if (as_is > 0) {
      memcpy(to + at, *text, as_is);
      at += as_is;
      *text += as_is;
    } else {
      static const char digits[] = "0123456789abcdef";
      unsigned char c = (unsigned char)*(*text)++;
      const char shown[4] = {'\\', 'x', digits[c >> 4], digits[c & 15]};
      memcpy(to + at, shown, sizeof shown);
      at += sizeof shown;
    }
  }
  return at;
}

void mb_log_escape(char *to, size_t size, const char *text) {
  to[show(to, size - 1, &text, text + strlen(text))] = '\0';
}

/* Writes a line, given without its newline, by one write(2), so that lines of processes do not mix. */
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
  const size_t limit = sizeof line - 8; /* room for "..." and a newline stays */
  const char *end = text + len;
  at += show(line + at, limit - at, &text, end);
  if (text < end) {
    memcpy(line + at, "...", 3);
    at += 3;
  }
  if (log_target == MB_LOG_SYSLOG) {
    send_datagram(line, at);
  } else {
    line[at++] = '\n';
    write_all(line, at);
  }
}

void mb_log(int level, const char *format, ...) {
  if (!mb_log_is_wanted(level)) return;
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
  if (!mb_log_is_wanted(level)) return;
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

/* A line that the script has begun and not ended: there is one for stdout, one for stderr. */
struct partial_line {
  char text[LINE_MAX_BYTES / 2];
  size_t len;
};

static struct partial_line partial[2];

/* Writes a script's own line at every --log-level, as the level is one of our messages only. */
static void end_line(struct partial_line *line) {
  if (line->len > 0) write_line(LOG_INFO, line->text, line->len);
  line->len = 0;
}

static ssize_t capture_write(void *cookie, const char *text, size_t len) {
  struct partial_line *line = cookie;
  int saved = errno;
  for (size_t i = 0; i < len; i++) {
    if (text[i] == '\n') {
      end_line(line);
      continue;
    }
    if (line->len == sizeof line->text) end_line(line); /* a long line is several messages */
    line->text[line->len++] = text[i];
  }
  errno = saved;
  return (ssize_t)len;
}

void mb_log_flush(void) {
  end_line(&partial[0]);
  end_line(&partial[1]);
}

static FILE *capture(struct partial_line *line) {
  static const cookie_io_functions_t sink = {.write = capture_write};
  FILE *file = fopencookie(line, "w", sink);
  /* We put the line together, not stdio: a signal handler can get at our buffer. */
  if (file) setvbuf(file, NULL, _IONBF, 0);
  return file;
}

void mb_log_capture_stdio(void) {
  if (log_target != MB_LOG_SYSLOG) return;
  FILE *out = capture(&partial[0]);
  FILE *err = capture(&partial[1]);
  if (out) stdout = out;
  if (err) stderr = err;
  atexit(mb_log_flush);
}
