/*
 * src/base/sd.c: what the service manager is told, and the journal's stream, in a /run of the test's own, without a journal and with a stand-in
 * for one. Without the right to make a mount namespace, the test looks at the machine's own /run only.
 */
#include "base/sd.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
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

/* ---- the manager: compared with libsystemd, which the test links to ---- */

static void notify_is(const char *path, const struct sockaddr_un *address, socklen_t len) {
  int manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  if (bind(manager, (const struct sockaddr *)address, len) != 0) tap_bail("bind");
  setenv("NOTIFY_SOCKET", path, 1);
  char text[64] = "", theirs[64] = "";
  tap_int(mb_sd_notify("READY=1\nSTATUS=a"), 0, "told at %s", path);
  if (recv(manager, text, sizeof text - 1, 0) < 0) tap_bail("recv");
  tap_str(text, "READY=1\nSTATUS=a", "the manager has it");
  sd_notify(0, "READY=1\nSTATUS=a");
  if (recv(manager, theirs, sizeof theirs - 1, 0) < 0) tap_bail("recv");
  tap_str(text, theirs, "as it has it from libsystemd");
  close(manager);
  tap_int(mb_sd_notify("READY=1"), -ECONNREFUSED, "nobody is there any more");
}

static void notify(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  char path[sizeof address.sun_path + 2];
  const socklen_t before = offsetof(struct sockaddr_un, sun_path);
  snprintf(path, sizeof path, "/tmp/mb-sd-test.%d", (int)getpid());
  strcpy(address.sun_path, path);
  notify_is(path, &address, sizeof address);
  unlink(path);
  tap_int(mb_sd_notify("READY=1"), -ENOENT, "a path that is not there");
  snprintf(path, sizeof path, "@mb-sd-test.%d", (int)getpid());
  memcpy(address.sun_path, path, strlen(path));
  address.sun_path[0] = '\0';
  notify_is(path, &address, before + (socklen_t)strlen(path));
  memset(path, 'x', sizeof path);
  path[0] = '/';
  path[sizeof path - 1] = '\0';
  setenv("NOTIFY_SOCKET", path, 1);
  tap_int(mb_sd_notify("READY=1"), -ENAMETOOLONG, "a path that is too long");
  static const char *const others[] = {"vsock:2:1234", "relative", "@", "/"};
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    setenv("NOTIFY_SOCKET", others[i], 1);
    tap_int(mb_sd_notify("READY=1"), -EAFNOSUPPORT, "no Unix socket: %s", others[i]);
  }
  setenv("NOTIFY_SOCKET", "", 1);
  tap_int(mb_sd_notify("READY=1"), 0, "an empty name: nobody wants to be told");
  unsetenv("NOTIFY_SOCKET");
  tap_int(mb_sd_notify("READY=1"), 0, "no name: nobody wants to be told");
}

static void set(const char *name, const char *value) {
  if (value) {
    setenv(name, value, 1);
  } else {
    unsetenv(name);
  }
}

static void watchdog(void) {
  char ours[16];
  snprintf(ours, sizeof ours, "%d", (int)getpid());
  const char *const pids[] = {NULL, ours, "1", "", "x", "-1", "99999999999999999999"};
  static const char *const times[] = {NULL,
                                      "30000000",
                                      "1",
                                      "0",
                                      "",
                                      "x",
                                      "1x",
                                      "-1",
                                      "18446744073709551615",
                                      "18446744073709551616"};
  for (size_t p = 0; p < sizeof pids / sizeof pids[0]; p++) {
    for (size_t t = 0; t < sizeof times / sizeof times[0]; t++) {
      set("WATCHDOG_PID", pids[p]);
      set("WATCHDOG_USEC", times[t]);
      uint64_t theirs = 0;
      if (sd_watchdog_enabled(0, &theirs) <= 0) theirs = 0;
      tap_int((long long)mb_sd_watchdog_usec(), (long long)theirs,
              "WATCHDOG_PID=%s WATCHDOG_USEC=%s", pids[p] ? pids[p] : "(none)",
              times[t] ? times[t] : "(none)");
    }
  }
}

int main(void) {
  notify();
  watchdog();
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
