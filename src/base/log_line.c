/* Lines of the log. Must never touch the connection. */
#include "base/log_line.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "base/log_escape.h"

#define NAME               "mb-handle: "
#define PREFIX_MAX         64
#define ELLIPSIS_MAX       40 /* "... (N bytes)" and a newline */
#define DAEMON_PATIENCE_MS 1000

static enum mb_log_target log_target = MB_LOG_PLAIN;
static bool is_open; /* in MB_LOG_PLAIN: a piece of a printed line is written, and not its end */

void mb_log_set_target(enum mb_log_target target) { log_target = target; }

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

/* Writes what stands before a message. Returns its size. */
static size_t begin(char to[PREFIX_MAX], int level) {
  switch (log_target) {
    case MB_LOG_PLAIN:
      break;
    case MB_LOG_JOURNAL:
      return (size_t)sprintf(to, "<%d>", level);
    case MB_LOG_SYSLOG:
      return (size_t)sprintf(to, "<%d>mb-handle[%ld]: ", LOG_DAEMON | level, (long)getpid());
  }
  return (size_t)sprintf(to, "%s%s", is_open ? "\n" : "", NAME);
}

/*
 * Writes a message, which has room for a newline behind it, by one write(2), so that lines of processes do
 * not mix.
 */
static void put(char *line, size_t len) {
  if (log_target == MB_LOG_SYSLOG) {
    send_datagram(line, len);
  } else {
    line[len++] = '\n';
    write_all(line, len);
  }
  is_open = false;
}

void mb_log_line(int level, const char *indent, const char *text, size_t len, size_t size) {
  char line[PREFIX_MAX + MB_LOG_LINE_MAX + ELLIPSIS_MAX];
  size_t at = begin(line, level);
  if (indent) at += (size_t)snprintf(line + at, sizeof line - at, "%s", indent);
  const char *end = text + len;
  at += mb_log_show(line + at, PREFIX_MAX + MB_LOG_LINE_MAX - at, &text, end);
  if (text < end || len < size)
    at += (size_t)snprintf(line + at, sizeof line - at, "... (%zu bytes)", size);
  put(line, at);
}

/* Returns whether a printed line would be taken for another's: ours, or one with a priority. */
static bool is_disguised(const char *text, const char *end) {
  size_t len = (size_t)(end - text);
  if (log_target == MB_LOG_JOURNAL)
    return len > 1 && text[0] == '<' && text[1] >= '0' && text[1] <= '9';
  return log_target == MB_LOG_PLAIN && len >= sizeof NAME - 2 &&
         memcmp(text, NAME, sizeof NAME - 2) == 0;
}

/* Shows the begin of a printed line. Returns the size of what it wrote, and moves *text behind what it has shown. */
static size_t show_begin(char to[8], const char **text, const char *end) {
  if (!is_disguised(*text, end)) return 0;
  return (size_t)sprintf(to, "\\x%02x", (unsigned char)*(*text)++);
}

size_t mb_log_printed(const char *text, size_t len, bool ends) {
  char line[PREFIX_MAX + MB_LOG_LINE_MAX + 1];
  const char *at = text, *end = text + len;
  size_t size = 0;
  if (log_target == MB_LOG_SYSLOG) {
    size = begin(line, LOG_INFO);
  } else if (!is_open) {
    size = show_begin(line, &at, end);
  }
  size += mb_log_show(line + size, sizeof line - 1 - size, &at, end);
  if (log_target != MB_LOG_PLAIN) {
    if (len > 0) put(line, size);
  } else {
    is_open = at < end || !ends;
    if (!is_open) line[size++] = '\n';
    write_all(line, size);
  }
  return (size_t)(at - text);
}

void mb_log_end_printed(const char *with) {
  if (is_open) mb_log_printed(with, strlen(with), true);
}

void mb_log_whole(const char *text, size_t len) {
  char line[PREFIX_MAX + MB_LOG_WHOLE_MAX + 1];
  size_t size = 0;
  if (log_target == MB_LOG_SYSLOG) size = begin(line, LOG_INFO);
  if (is_open) line[size++] = '\n';
  memcpy(line + size, text, len);
  put(line, size + len);
}
