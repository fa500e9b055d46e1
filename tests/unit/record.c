/* src/record.c and src/script_path.c: file names that are made from a template or an address. */
#include "../../src/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/script_path.h"
#include "../lib/tap.h"

static char dir[] = "/tmp/mb-record-XXXXXX";

static const char *in_dir(const char *name) {
  static char path[4][256];
  static int turn;
  turn = (turn + 1) % 4;
  snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
  return path[turn];
}

static void touch(const char *name) {
  int fd = open(in_dir(name), O_WRONLY | O_CREAT, 0600);
  if (fd < 0) tap_bail("open");
  close(fd);
}

static void records(void) {
  char name[64];
  int fd = mb_record_open(in_dir("r-%p-%%"));
  tap_ok(fd >= 0, "a file is made");
  snprintf(name, sizeof name, "r-%ld-%%", (long)getpid());
  struct stat st;
  tap_ok(stat(in_dir(name), &st) == 0, "with the process id and a %% in its name");
  tap_int(st.st_mode & 0777, 0600, "for its owner only");
  mb_record_write(&fd, "a\0b", 3);
  tap_ok(stat(in_dir(name), &st) == 0 && st.st_size == 3, "bytes are written");
  close(fd);
  unlink(in_dir(name));
  tap_int(mb_record_open(in_dir("missing/r")), -1, "a file that cannot be made is no abort");
  fd = open("/dev/full", O_WRONLY);
  mb_record_write(&fd, "x", 1);
  tap_int(fd, -1, "a full disk ends the recording");
  char *lots = malloc(10001);
  memset(lots, 'x', 10000);
  lots[10000] = '\0';
  tap_int(mb_record_open(lots), -1, "nor is a name that is too long");
  free(lots);
}

static void path_is(const struct mb_options *o, const struct mb_addr *local, const char *want,
                    const char *what) {
  char path[PATH_MAX];
  tap_str(mb_script_path(o, local, path), want ? in_dir(want) : NULL, "%s", what);
}

static struct mb_addr named(const char *bytes, size_t len) {
  struct mb_addr addr = {.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)};
  addr.local.sun_family = AF_UNIX;
  memcpy(addr.local.sun_path, bytes, len);
  return addr;
}

static void scripts(void) {
  struct mb_options o = {.handlers = dir};
  struct mb_addr none = {.len = 0};
  struct mb_addr sock = named("/run/mb/say.sock", 17), other = named("/run/x.y", 9),
                 abstract = named("\0say", 4);
  struct mb_addr dots = named("..", 3), only = named("/run/.sock", 11);
  path_is(&o, &none, NULL, "an empty directory has no script");
  touch("say.lua");
  path_is(&o, &sock, "say.lua", "NAME.lua for NAME.sock");
  path_is(&o, &abstract, "say.lua", "NAME.lua for @NAME");
  path_is(&o, &none, NULL, "a replay has no name");
  touch("default.lua");
  path_is(&o, &other, "default.lua", "default.lua for others");
  path_is(&o, &none, "default.lua", "and for a replay");
  path_is(&o, &dots, "default.lua", "no name leads out of the directory");
  path_is(&o, &only, "default.lua", "a path of .sock alone");
  /* A loop of links cannot be read, not even by root. */
  if (symlink("loop.lua", in_dir("loop.lua")) != 0) tap_bail("symlink");
  struct mb_addr loop = named("\0loop", 5);
  path_is(&o, &loop, NULL, "a script that cannot be read is not replaced by the default");
  unlink(in_dir("loop.lua"));
  setenv("MB_SCRIPT", in_dir("say.lua"), 1);
  path_is(&o, &none, "say.lua", "$MB_SCRIPT");
  setenv("MB_SCRIPT", in_dir("missing"), 1);
  path_is(&o, &none, NULL, "is not replaced when it is missing");
  o.script = in_dir("default.lua");
  path_is(&o, &sock, "default.lua", "the argument goes first");
  o.script = in_dir("missing");
  path_is(&o, &sock, NULL, "and is not replaced either");
  unlink(in_dir("say.lua"));
  unlink(in_dir("default.lua"));
}

int main(void) {
  if (!mkdtemp(dir)) tap_bail("mkdtemp");
  unsetenv("MB_SCRIPT");
  records();
  scripts();
  rmdir(dir);
  return tap_done();
}
