/*
 * src/base/log.c and log_line.c: the three forms of a message, texts that are cut off or escaped, messages
 * of a level that is not written, and the limit of a script's lines.
 */
#include "base/log.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log_line.h"

#include "../../lib/tap.h"

static int ends[2];
static char text[200000];

/* The limit of lines asks for the time: the test does not wait for it. */
static int64_t now = 1000000;

int64_t mb_now_usec(void) { return now; }

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

static int lines_of(const char *lines) {
  int count = 0;
  for (; *lines; lines++) count += *lines == '\n';
  return count;
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
  mb_log_text(LOG_ERR, "first\n\nsecond\n\tthird", 20);
  tap_str(written(), "mb-handle: first\nmb-handle: \tsecond\nmb-handle: \tthird\n",
          "a text is a line each, empty ones left out; those behind the first begin with a tab");
  mb_log_text(LOG_ERR, "a\0b\n", 4);
  tap_str(written(), "mb-handle: a\\x00b\n", "a NUL does not end a text");
}

/* ---- long ones ---- */

static void cut_off(void) {
  char *lots = malloc(100000);
  memset(lots, 'x', 99999);
  lots[99999] = '\0';
  mb_log(LOG_ERR, "%s", lots);
  const char *line = written();
  size_t len = strlen(line);
  tap_ok(len > 2000 && len < 2200, "a long line is cut (%zu bytes)", len);
  tap_str(line + len - 18, "... (99999 bytes)\n", "and tells its size");
  mb_log_text(LOG_ERR, lots, 99999);
  line = written();
  len = strlen(line);
  tap_ok(len > 2000 && len < 2200, "so is a line of a text (%zu bytes)", len);
  tap_str(line + len - 18, "... (99999 bytes)\n", "and tells its size");
  memset(lots, 1, 99999);
  mb_log_text(LOG_ERR, lots, 1000);
  line = written();
  len = strlen(line);
  tap_ok(len > 2000 && len < 2200, "also one that grows by escaping (%zu bytes)", len);
  tap_str(line + len - 17, "... (1000 bytes)\n", "it tells the size of the text");
  free(lots);
}

/* Logs a text of this many lines, each with its number. */
static const char *numbered(int count) {
  static char lots[100000];
  size_t len = 0;
  for (int i = 1; i <= count; i++) len += (size_t)sprintf(lots + len, "%d\n", i);
  mb_log_text(LOG_ERR, lots, len);
  return written();
}

static void many_lines(void) {
  const char *got = numbered(40);
  tap_int(lines_of(got), 40, "a text of 40 lines is whole");
  tap_ok(!strstr(got, "..."), "nothing is left out");
  got = numbered(41);
  tap_int(lines_of(got), 41, "of 41 lines one is left out, and a line says so");
  tap_ok(
      strstr(
          got,
          "mb-handle: \t16\nmb-handle: \t... (3 of 114 bytes are left out)\nmb-handle: \t18\n") !=
          NULL,
      "in the middle");
  got = numbered(10000);
  tap_int(lines_of(got), 41, "of many lines there are no more");
  tap_ok(strstr(got, "\t16\n") && strstr(got, "\t9977\n") && !strstr(got, "\t9976\n"),
         "the first and the last ones stay: a traceback is at the end");
}

static void prefixed(void) {
  mb_log_set_target(MB_LOG_JOURNAL);
  mb_log(LOG_WARNING, "careful");
  tap_str(written(), "<4>careful\n", "a line for the journal");
  mb_log_text(LOG_ERR, "a\n<0>b", 6);
  tap_str(written(), "<3>a\n<3>\t<0>b\n", "each line has its priority, whatever is in it");
}

static void syslog_form(void) {
  use(SOCK_DGRAM);
  mb_log_set_target(MB_LOG_SYSLOG);
  char want[128];
  mb_log(LOG_ERR, "gone");
  snprintf(want, sizeof want, "<27>mb-handle[%ld]: gone", (long)getpid());
  tap_str(written(), want, "a datagram for syslog");
}

/* ---- the limit ---- */

static void script_logs(const char *what, const char *want, const char *name) {
  mb_log_script(LOG_ERR, what, strlen(what));
  tap_str(written(), want, "%s", name);
}

static void limit(void) {
  use(SOCK_STREAM);
  mb_log_set_target(MB_LOG_PLAIN);
  for (int i = 0; i < 5000; i++) {
    if (!mb_log_count(10)) tap_bail("a limit that nobody has set");
  }
  mb_log_limit(3);
  script_logs("a\nb", "mb-handle: a\nmb-handle: \tb\n", "lines of a script");
  script_logs("c\nd", "mb-handle: c\n", "those beyond the limit are not written");
  script_logs("more", "", "nor are those behind them");
  mb_log(LOG_ERR, "ours");
  mb_log_text(LOG_ERR, "an error", 8);
  tap_str(written(), "mb-handle: ours\nmb-handle: an error\n", "messages of ours are");
  now += MB_LOG_LIMIT_SECONDS * INT64_C(1000000) - 1;
  script_logs("late", "", "within the time nothing changes");
  now++;
  mb_log_set_level(LOG_CRIT);
  tap_ok(mb_log_count(1), "then lines are written again");
  tap_str(written(),
          "mb-handle: lines dropped: 3, with 9 bytes: the script logs more than 3 within 30 s "
          "(--log-lines)\n",
          "and the log says how many are missing, at every level");
  mb_log_set_level(LOG_NOTICE);
  script_logs("e\nf\ng", "mb-handle: e\nmb-handle: \tf\n", "the time begins anew");
  mb_log_tell_dropped();
  tap_ok(strstr(written(), "lines dropped: 1, with 1 bytes:") != NULL, "at the end too: %s", text);
  mb_log_tell_dropped();
  tap_str(written(), "", "once");
  now += 10 * MB_LOG_LIMIT_SECONDS * INT64_C(1000000);
  mb_log_limit(1);
  script_logs("h\ni", "mb-handle: h\n", "another connection has its own lines");
  mb_log_limit(0);
  mb_log_tell_dropped();
  tap_str(written(), "", "and does not tell of those of the one before");
  script_logs("j\nk", "mb-handle: j\nmb-handle: \tk\n", "without a limit all are written");
}

int main(void) {
  use(SOCK_STREAM);
  plain();
  cut_off();
  many_lines();
  prefixed();
  syslog_form();
  limit();
  return tap_done();
}
