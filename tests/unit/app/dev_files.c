/* src/app/dev_files.c and dev_watch.c: which files were loaded, and that somebody notices when one changes. */
#include "app/dev_files.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../lib/tap.h"
#include "app/dev_watch.h"
#include "base/fdio.h"

#define PATIENCE_USEC 10000000

static char dir[] = "/tmp/mb-dev-XXXXXX";

static const char *in_dir(const char *name) {
  static char path[4][256];
  static int turn;
  turn = (turn + 1) % 4;
  snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
  return path[turn];
}

static void save(const char *name, const char *text) {
  int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (fd < 0 || write(fd, text, strlen(text)) < 0 || close(fd) != 0) tap_bail("cannot write");
}

static void files(void) {
  tap_ok(!mb_dev_files_changed(), "no file, no change");
  save("a.lua", "1");
  mb_dev_files_note(in_dir("a.lua"));
  mb_dev_files_note(in_dir("a.lua"));
  mb_dev_files_note(in_dir("none.lua"));
  mb_dev_files_note("relative.lua");
  tap_str(mb_dev_files_name(0), in_dir("a.lua"), "the first name");
  tap_str(mb_dev_files_name(1), in_dir("none.lua"),
          "a file that is not there is noted; none twice");
  tap_str(mb_dev_files_name(2), "relative.lua", "a name is kept as it was given");
  tap_str(mb_dev_files_name(3), NULL, "no more names");
  if (chdir("/") != 0) tap_bail("chdir");
  tap_ok(!mb_dev_files_changed(), "nothing has changed");
  save("b.lua", "1");
  tap_ok(!mb_dev_files_changed(), "another file does not count");
  save("none.lua", "1");
  tap_ok(mb_dev_files_changed(), "a file that comes is a change");
  mb_dev_files_forget();
  tap_str(mb_dev_files_name(0), NULL, "all are forgotten");
  mb_dev_files_note(in_dir("a.lua"));
  save("a.lua", "2");
  tap_ok(mb_dev_files_changed(), "so is a text of the same length");
  mb_dev_files_forget();
  mb_dev_files_note(in_dir("a.lua"));
  unlink(in_dir("a.lua"));
  tap_ok(mb_dev_files_changed(), "and a file that goes");
}

/* Waits until a change is due, or the time is over. */
static bool is_noticed(void) {
  int64_t end = mb_now_usec() + PATIENCE_USEC;
  for (;;) {
    struct pollfd fds[MB_DEV_WATCH_FDS];
    int64_t again_at = end;
    if (mb_dev_watch_is_due(mb_now_usec(), &again_at)) return true;
    if (mb_now_usec() >= end) return false;
    int n = mb_dev_watch_fds(fds);
    mb_fd_poll_all(fds, (size_t)n, again_at);
    mb_dev_watch_look();
  }
}

/* Notes many files: more than the pipe's reader takes at once. */
static void watch(void) {
  struct pollfd fds[MB_DEV_WATCH_FDS];
  char name[32];
  mb_dev_files_forget();
  tap_int(mb_dev_watch_fds(fds), 0, "nothing is waited for before it begins");
  tap_int(mb_dev_watch_open(), 0, "it begins");
  for (int i = 0; i < 300; i++) {
    sprintf(name, "%d.lua", i);
    save(name, "1");
    mb_dev_files_note(in_dir(name));
  }
  mb_dev_watch_look();
  int64_t again_at = MB_NO_DEADLINE;
  tap_ok(!mb_dev_watch_is_due(mb_now_usec(), &again_at) && again_at == MB_NO_DEADLINE,
         "nothing is due");
  save("299.lua", "2");
  tap_ok(is_noticed(), "a text that is written");
  save("new", "3");
  if (rename(in_dir("new"), in_dir("0.lua")) != 0) tap_bail("rename");
  tap_ok(is_noticed(), "a file that takes the place of another");
  mb_dev_watch_look();
  save("other.lua", "1");
  mb_dev_watch_look();
  again_at = MB_NO_DEADLINE;
  tap_ok(!mb_dev_watch_is_due(mb_now_usec() + PATIENCE_USEC, &again_at), "another file is none");
  for (int i = 0; i < 300; i++) {
    sprintf(name, "%d.lua", i);
    unlink(in_dir(name));
  }
  mb_dev_watch_leave();
  tap_int(mb_dev_watch_fds(fds), 0, "nothing is waited for when it has ended");
}

int main(void) {
  if (!mkdtemp(dir)) tap_bail("mkdtemp");
  files();
  watch();
  mb_dev_files_forget();
  const char *left[] = {"b.lua", "none.lua", "other.lua"};
  for (size_t i = 0; i < sizeof left / sizeof *left; i++) unlink(in_dir(left[i]));
  tap_int(rmdir(dir), 0, "nothing is left");
  return tap_done();
}
