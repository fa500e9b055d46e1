/* src/app/script_path.c: the script that a connection's address names, and the one that takes its place. */
#include "app/script_path.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../lib/tap.h"

static char dir[] = "/tmp/mb-script-XXXXXX";

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

static void path_is(const struct mb_options *o, const struct mb_addr *local, const char *want,
                    const char *what) {
  char path[PATH_MAX], tried[MB_SCRIPT_TRIED_MAX];
  tap_str(mb_script_path(o, local, path), want ? in_dir(want) : NULL, "%s", what);
  mb_script_tried(o, local, tried);
  if (!want) tap_ok(strstr(tried, in_dir("default.lua")) != NULL, "tried: %s", tried);
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
  /* Nobody can read a loop of links, not even root. The path is kept: opening it will report the error. */
  if (symlink("loop.lua", in_dir("loop.lua")) != 0) tap_bail("symlink");
  struct mb_addr loop = named("\0loop", 5);
  path_is(&o, &loop, "loop.lua", "a script that cannot be read is not replaced by the default");
  unlink(in_dir("loop.lua"));
  setenv("MB_SCRIPT", in_dir("say.lua"), 1);
  path_is(&o, &none, "say.lua", "$MB_SCRIPT");
  setenv("MB_SCRIPT", in_dir("missing"), 1);
  path_is(&o, &none, "missing", "is not replaced when it is missing");
  o.script = in_dir("default.lua");
  path_is(&o, &sock, "default.lua", "the argument goes first");
  unlink(in_dir("say.lua"));
  unlink(in_dir("default.lua"));
}

int main(void) {
  if (!mkdtemp(dir)) tap_bail("mkdtemp");
  unsetenv("MB_SCRIPT");
  scripts();
  rmdir(dir);
  return tap_done();
}
