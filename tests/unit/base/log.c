/*
 * src/base/log.c: the three forms of a line, texts that are cut off or escaped, and messages of a level
 * that is not written.
 */
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../lib/tap.h"

static int ends[2];
static char text[65536];

/* Returns the text that was written to fd 2 since the last call. */
static const char *written(void) {
  ssize_t n = recv(ends[0], text, sizeof text - 1, MSG_DONTWAIT);
  text[n < 0 ? 0 : n] = '\0';
  return text;
}

static void use(int type) {
  if (ends[0]) close(ends[0]);
  if (socketpair(AF_UNIX, type, 0, ends) != 0) tap_bail("socketpair");
  dup2(ends[1], STDERR_FILENO);
  close(ends[1]);
}

static void plain(void) {
  errno = ENOENT;
  mb_log(LOG_ERR, "%s is %d", "one", 1);
  tap_str(written(), "mb-handle: one is 1\n", "a plain line");
  tap_int(errno, ENOENT, "errno is kept");
  mb_log(LOG_INFO, "quiet");
  tap_str(written(), "", "a level that is not wanted is not written");
  mb_log(LOG_ERR, "a\nb\x1b[1m\x7f\tc");
  tap_str(written(), "mb-handle: a\\x0ab\\x1b[1m\\x7f\tc\n",
          "control characters cannot forge a line or drive a terminal");
  mb_log(LOG_ERR, "\xc2\x9b\x9b \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80 \xc3( \xff\xe2\x82");
  tap_str(
      written(),
      "mb-handle: \\xc2\\x9b\\x9b \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80 \\xc3( \\xff\\xe2\\x82\n",
      "UTF-8 is shown; its C1 controls, and what is no UTF-8, are not");
  mb_log_text(LOG_ERR, "first\n\nsecond\n", 14);
  tap_str(written(), "mb-handle: first\nmb-handle: second\n",
          "a text is a line each, empty ones left out");
  char *lots = malloc(100000);
  memset(lots, 'x', 99999);
  lots[99999] = '\0';
  mb_log(LOG_ERR, "%s", lots);
  const char *line = written();
  size_t len = strlen(line);
  tap_ok(len > 2000 && len < 2200, "a long line is cut (%zu bytes)", len);
  tap_str(line + len - 4, "...\n", "and says so");
  memset(lots, 1, 99999);
  mb_log_text(LOG_ERR, lots, 99999);
  len = strlen(written());
  tap_ok(len > 2000 && len < 2200, "also one that grows by escaping (%zu bytes)", len);
  free(lots);
}

static void prefixed(void) {
  mb_log_set_target(MB_LOG_JOURNAL);
  mb_log(LOG_WARNING, "careful");
  tap_str(written(), "<4>careful\n", "a line for the journal");
  mb_log_text(LOG_ERR, "a\nb", 3);
  tap_str(written(), "<3>a\n<3>b\n", "each line has its priority");
}

static void syslog_form(void) {
  use(SOCK_DGRAM);
  mb_log_set_target(MB_LOG_SYSLOG);
  char want[128];
  mb_log(LOG_ERR, "gone");
  snprintf(want, sizeof want, "<27>mb-handle[%ld]: gone", (long)getpid());
  tap_str(written(), want, "a datagram for syslog");
  FILE *out = stdout, *err = stderr;
  mb_log_capture_stdio();
  FILE *captured = stdout;
  fputs("one\ntw", captured);
  stdout = out;
  snprintf(want, sizeof want, "<30>mb-handle[%ld]: one", (long)getpid());
  tap_str(written(), want, "a printed line is a message, though info is not logged by us");
  tap_str(written(), "", "half a line is none yet");
  fputs("o\n", captured);
  snprintf(want, sizeof want, "<30>mb-handle[%ld]: two", (long)getpid());
  tap_str(written(), want, "until it ends");
  fclose(captured);
  fclose(stderr);
  stderr = err;
}

int main(void) {
  use(SOCK_STREAM);
  plain();
  prefixed();
  syslog_form();
  return tap_done();
}
