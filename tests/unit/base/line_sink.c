/* src/base/line_sink.c: files, pipes, sockets; readers that do not read, or have gone. */
#include "base/line_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../lib/tap.h"
#include "base/fdio.h"

static char full[PIPE_BUF];

static int64_t milliseconds(int64_t since) { return (mb_now_usec() - since) / 1000; }

static void put(struct mb_line_sink *sink, const char *line, int want, const char *what) {
  tap_int(mb_line_sink_write(sink, line, strlen(line)), want, "%s", what);
}

/* Writes until there is no room. Returns how long the last line took. */
static int64_t fill(struct mb_line_sink *sink) {
  for (int i = 0; i < 100000; i++) {
    int64_t before = mb_now_usec();
    int r = mb_line_sink_write(sink, full, sizeof full);
    if (r == -EAGAIN) return milliseconds(before);
    if (r != 0) tap_bail("cannot write");
  }
  tap_bail("there is always room");
}

/* fds: to read from, and to write to. */
static void reader_that_stops(int fds[2], bool blocks, const char *what) {
  struct mb_line_sink sink;
  char some[65536];
  if (mb_line_sink_open(fds[1], &sink) != 0) tap_bail("mb_line_sink_open");
  tap_ok(sink.fd > 2 && sink.fd != fds[1], "%s: a descriptor of its own", what);
  tap_ok(fcntl(sink.fd, F_GETFD) & FD_CLOEXEC, "%s: with close-on-exec", what);
  sink.blocks = blocks;
  if (blocks) sink.fd = fds[1];
  int64_t took = fill(&sink);
  tap_ok(took >= MB_LINE_SINK_PATIENCE_MS - 10 && took < 5 * MB_LINE_SINK_PATIENCE_MS,
         "%s: the first line without room waits a second: %jd ms", what, (intmax_t)took);
  int64_t before = mb_now_usec();
  for (int i = 0; i < 10; i++)
    if (mb_line_sink_write(&sink, full, sizeof full) != -EAGAIN) tap_bail("there is room");
  tap_ok(milliseconds(before) < MB_LINE_SINK_PATIENCE_MS / 2, "%s: those behind it do not", what);
  tap_ok(!(fcntl(fds[1], F_GETFL) & O_NONBLOCK), "%s: the flags of the open file stay", what);
  if (read(fds[0], some, sizeof some) <= 0) tap_bail("nothing to read");
  put(&sink, "again\n", 0, what);
  close(fds[0]);
  put(&sink, "gone\n", -EPIPE, what);
  if (!blocks) close(sink.fd);
  close(fds[1]);
}

static void files(void) {
  char name[] = "/tmp/mb-line-sink-XXXXXX", text[64] = "";
  struct mb_line_sink one, two;
  int fd = mkstemp(name), again = open(name, O_WRONLY | O_APPEND);
  if (fd < 0 || again < 0) tap_bail("no file");
  unlink(name);
  fcntl(fd, F_SETFL, O_APPEND);
  tap_ok(mb_line_sink_open(fd, &one) == 0 && mb_line_sink_open(again, &two) == 0, "a file");
  put(&one, "a\n", 0, "one process");
  put(&two, "b\n", 0, "another");
  put(&one, "c\n", 0, "and the first again");
  if (pread(fd, text, sizeof text - 1, 0) < 0) tap_bail("cannot read");
  tap_str(text, "a\nb\nc\n", "lines of a file in append mode stand one behind the other");
  close(fd);
  close(again);
  close(one.fd);
  close(two.fd);
  tap_int(mb_line_sink_open(fd, &one), -EBADF, "a closed descriptor");
  int disk = open("/dev/full", O_WRONLY);
  if (disk < 0 || mb_line_sink_open(disk, &one) != 0) tap_bail("/dev/full");
  put(&one, "x\n", -ENOSPC, "a full disk");
}

int main(void) {
  int fds[2];
  signal(SIGPIPE, SIG_IGN);
  memset(full, 'x', sizeof full);
  full[sizeof full - 1] = '\n';
  files();
  if (pipe(fds) != 0) tap_bail("pipe");
  reader_that_stops(fds, false, "a pipe");
  if (pipe(fds) != 0) tap_bail("pipe");
  reader_that_stops(fds, true, "another's pipe");
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) tap_bail("socketpair");
  reader_that_stops(fds, false, "a stream");
  return tap_done();
}
