/*
 * src/base/sd.c: the journal's stream, in a /run of the test's own, without a journal and with a stand-in
 * for one. Without the right to make a mount namespace, the test looks at the machine's own /run only.
 */
#include "base/sd.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../lib/tap.h"

static const struct sockaddr_un journal = {.sun_family = AF_UNIX,
                                           .sun_path = "/run/systemd/journal/stdout"};

static bool own_run(void) {
  return unshare(CLONE_NEWNS) == 0 && mount("none", "/", "none", MS_REC | MS_PRIVATE, "") == 0 &&
         mount("tmpfs", "/run", "tmpfs", 0, "") == 0;
}

static void without(void) { tap_int(mb_sd_journal_stream(), -ENOENT, "no journal: -ENOENT"); }

static void nobody_listens(void) {
  mkdir("/run/systemd", 0755);
  mkdir("/run/systemd/journal", 0755);
  int left = socket(AF_UNIX, SOCK_STREAM, 0);
  if (bind(left, (const struct sockaddr *)&journal, sizeof journal) != 0) tap_bail("bind");
  close(left);
  tap_int(mb_sd_journal_stream(), -ECONNREFUSED, "a socket that a journal has left behind");
  unlink(journal.sun_path);
}

static void with_journal(void) {
  int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  if (bind(listener, (const struct sockaddr *)&journal, sizeof journal) != 0 ||
      listen(listener, 1) != 0)
    tap_bail("bind, listen");
  int fd = mb_sd_journal_stream();
  tap_ok(fd > 2, "a stream (%d)", fd);
  if (fd < 0) return;
  if (write(fd, "<3>line\n", 8) != 8) tap_bail("write");
  close(fd);
  int conn = accept(listener, NULL, NULL);
  char text[256] = "";
  size_t len = 0;
  for (ssize_t n; len < sizeof text - 1; len += (size_t)n) {
    n = read(conn, text + len, sizeof text - 1 - len);
    if (n <= 0) break;
  }
  /* Identifier, unit, priority, 1 as <N> counts, and three options that are off (sd-journal). */
  tap_str(text, "mb-handle\n\n6\n1\n0\n0\n0\n<3>line\n",
          "our identifier, level info where a line does not say <N>");
  close(conn);
  close(listener);
}

int main(void) {
  if (own_run()) {
    without();
    nobody_listens();
    with_journal();
  } else if (access(journal.sun_path, F_OK) != 0) {
    without();
  } else {
    tap_ok(true, "a journal is here, and only root can hide it # SKIP");
  }
  return tap_done();
}
