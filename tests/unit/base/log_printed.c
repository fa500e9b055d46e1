/* src/base/log_printed.c: what is printed, in each form of the log; its lines, pieces and limit. */
#include "base/log_printed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_line.h"

#include "../../lib/tap.h"

static int ends[2];
static char text[200000];
static FILE *out, *captured; /* the test's own stdout, and the script's */

/* Returns the text that was written to fd 2 since the last call; datagrams are lines. */
static const char *written(void) {
  size_t len = 0;
  ssize_t n;
  while ((n = recv(ends[0], text + len, sizeof text - 2 - len, MSG_DONTWAIT)) > 0) {
    len += (size_t)n;
    if (text[len - 1] != '\n') text[len++] = '\n';
  }
  text[len] = '\0';
  return text;
}

static void use(enum mb_log_target target) {
  if (ends[0]) close(ends[0]);
  int type = target == MB_LOG_SYSLOG ? SOCK_DGRAM : SOCK_STREAM;
  if (socketpair(AF_UNIX, type, 0, ends) != 0) tap_bail("socketpair");
  dup2(ends[1], STDERR_FILENO);
  close(ends[1]);
  mb_log_set_target(target);
}

/* Prints `what`. In `want` "@" stands for the prefix. */
static void prints(const char *prefix, const char *what, size_t len, const char *want,
                   const char *name) {
  char expected[16384];
  size_t at = 0;
  for (; *want; want++) {
    if (want[0] == '@') {
      at += (size_t)snprintf(expected + at, sizeof expected - at, "%s", prefix);
    } else {
      expected[at++] = *want;
    }
  }
  expected[at] = '\0';
  fwrite(what, 1, len, captured);
  mb_log_flush();
  tap_str(written(), expected, "%s%s", prefix, name);
}

/* One rule for all logs; "@" stands for what comes before a line. */
static void rule(enum mb_log_target target, const char *prefix) {
  static const struct {
    const char *what, *want, *name;
  } cases[] = {
      {"one\n", "@one\n", "a line"},
      {"one\ntwo\n", "@one\n@two\n", "a line end begins a line"},
      {" <0>one\n<one>\n<\n", "@ <0>one\n@<one>\n@<\n", "what only looks like a level"},
      {"a\r\n\x1b[2Jb\n", "@a\\x0d\n@\\x1b[2Jb\n", "nor drive a terminal"},
      {"\xe2\x80\xae\xc0\x8a\n", "@\\xe2\\x80\\xae\\xc0\\x8a\n", "nor hide anything"},
      {"half", "@half\n", "what has no end ends with the connection"},
      {"", "", "nothing"},
  };
  use(target);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    prints(prefix, cases[i].what, strlen(cases[i].what), cases[i].want, cases[i].name);
  prints(prefix, "a\0b\n", 4, "@a\\x00b\n", "a NUL");
  const char *want = target == MB_LOG_JOURNAL ? "@one\n@\\x3c0>two\n@\\x3c191>\n@\\x3c3\n"
                                              : "@one\n@<0>two\n@<191>\n@<3\n";
  prints(prefix, "one\n<0>two\n<191>\n<3\n", 20, want, "text cannot choose the level");
}

static void parts(void) {
  use(MB_LOG_PLAIN);
  fputs("ha", captured);
  tap_str(written(), "", "half a line waits");
  fputs("lf", stderr);
  putc('\n', captured);
  tap_str(written(), "half\n", "stdout and stderr are one: a line is whole when it is written");
  fputs("\n\n", captured);
  tap_str(written(), "\n\n", "empty lines stay where only people read");
  fputs("mb-handle: forged\nmb-handle: once more\n mb-handle: indented\nmb-handler\n", captured);
  tap_str(written(),
          "\\x6db-handle: forged\n\\x6db-handle: once more\n mb-handle: indented\nmb-handler\n",
          "no printed line begins with our name");
  fputs("begun", captured);
  mb_log(LOG_ERR, "ours");
  tap_str(written(), "mb-handle: ours\n", "a message does not wait for it");
  mb_log_flush();
  tap_str(written(), "begun\n", "nor is it lost");
}

/* Prints a line of this many bytes, each two of them a character. */
static void print_long(size_t bytes) {
  for (size_t i = 0; i < bytes; i += 2) fputs("\xc3\xa4", captured);
  putc('\n', captured);
}

static bool has_escapes(const char *log) { return strstr(log, "\\x") != NULL; }

static int lines_of(const char *lines) {
  int count = 0;
  for (; *lines; lines++) count += *lines == '\n';
  return count;
}

static void long_lines(void) {
  use(MB_LOG_PLAIN);
  putc('x', captured); /* so that a piece ends within a character */
  print_long(10000);
  const char *got = written();
  tap_ok(strlen(got) == 10002 && lines_of(got) == 1 && !has_escapes(got),
         "a long line is one line");
  putc('x', captured);
  for (int i = 0; i < 5000; i++) fputs("\x1b", captured);
  putc('\n', captured);
  got = written();
  tap_ok(strlen(got) == 20002 && lines_of(got) == 1, "also when it grows");
  for (int i = 0; i < 3000; i++) putc('y', captured);
  mb_log(LOG_ERR, "ours");
  got = written();
  tap_ok(strlen(got) == 2048 + 17 && strstr(got, "y\nmb-handle: ours\n"),
         "a message begins a line");
  fputs("\n", captured);
  tap_int((int)strlen(written()), 3000 - 2048 + 1, "the rest follows");
  for (int i = 0; i < 2048; i++) putc('y', captured);
  fputs("mb-handle: no begin of a line\n", captured);
  tap_str(written() + 2048, "mb-handle: no begin of a line\n", "our name within a line is text");

  use(MB_LOG_JOURNAL);
  putc('x', captured);
  print_long(10000);
  got = written();
  tap_int(lines_of(got), 5, "a long line is several messages in the journal");
  tap_ok(strlen(got) == 10001 + 5 && !has_escapes(got), "with all characters whole");
  for (int i = 0; i < 3000; i++) fputs("<3", captured);
  putc('\n', captured);
  got = written();
  bool begins = *got == '<';
  for (const char *p = got; (p = strchr(p, '\n')) != NULL; p++) begins |= p[1] == '<';
  tap_ok(!begins && lines_of(got) == 3, "none of several messages begins with a level");
  use(MB_LOG_SYSLOG);
  for (int i = 0; i < 2000; i++) fputs("\x1b", captured);
  putc('\n', captured);
  got = written();
  int escapes = 0;
  for (const char *p = got; (p = strstr(p, "\\x1b")) != NULL; p++) escapes++;
  tap_int(escapes, 2000, "nothing is lost of one that grows: %d messages", lines_of(got));
}

/* A log that takes nothing is no failure of the script. */
static void lost(void) {
  use(MB_LOG_PLAIN);
  int read_only = open("/dev/null", O_RDONLY);
  dup2(read_only, STDERR_FILENO);
  close(read_only);
  errno = ENOENT;
  tap_int(fputs("lost\n", captured) >= 0, 1, "what cannot be written is lost");
  tap_int(errno, ENOENT, "errno is kept");
}

static void limit(void) {
  use(MB_LOG_PLAIN);
  mb_log_limit(2);
  fputs("1\n2\n3\n4\nhalf", captured);
  tap_str(written(), "1\n2\n", "lines beyond the limit are not written");
  mb_log_flush();
  tap_str(written(),
          "mb-handle: lines dropped: 3, with 6 bytes: the script logs more than 2 within 30 s "
          "(--log-lines)\n",
          "at the end the log says how many");
  mb_log_limit(2);
  print_long(100000);
  mb_log_flush();
  const char *got = written();
  tap_ok(strncmp(got + 4096, "...\nmb-handle: lines dropped: 47, with 95904 bytes:", 51) == 0,
         "a line that is too long for the limit is cut off");
  mb_log_limit(2);
  for (int i = 0; i < 2000; i++) putc(1, captured);
  mb_log_flush();
  got = written();
  tap_ok(strncmp(got + 2112 * 2, "...\nmb-handle: lines dropped: 1,", 32) == 0,
         "what grows by escaping is no exception");
  mb_log_limit(0);
  print_long(100000);
  tap_int((int)strlen(written()), 100001, "without a limit it is whole");
}

/* The process's exit writes what is left, even what the script has told stdio to keep. */
static void at_exit(void) {
  use(MB_LOG_PLAIN);
  fflush(out);
  pid_t pid = fork();
  if (pid == 0) {
    stdout = captured;
    static char buffer[4096];
    setvbuf(captured, buffer, _IOFBF, sizeof buffer);
    fputs("kept\nhalf", captured);
    exit(0);
  }
  waitpid(pid, NULL, 0);
  tap_str(written(), "kept\nhalf\n", "the exit leaves nothing behind");
}

int main(void) {
  out = stdout;
  if (mb_log_capture_stdio() != 0) tap_bail("mb_log_capture_stdio");
  captured = stdout;
  stdout = out;
  rule(MB_LOG_PLAIN, "");
  rule(MB_LOG_JOURNAL, "");
  char prefix[64];
  snprintf(prefix, sizeof prefix, "<30>mb-handle[%ld]: ", (long)getpid());
  rule(MB_LOG_SYSLOG, prefix);
  parts();
  long_lines();
  lost();
  limit();
  at_exit();
  return tap_done();
}
