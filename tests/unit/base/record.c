/* src/base/record.c: file names that are made from a template, and files that cannot be recorded to. */
#include "base/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../lib/tap.h"

static char dir[] = "/tmp/mb-record-XXXXXX";

static const char *in_dir(const char *name) {
  static char path[4][256];
  static int turn;
  turn = (turn + 1) % 4;
  snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
  return path[turn];
}

static void records(void) {
  char name[64];
  struct stat st;
  int fd = mb_record_open(in_dir("r-%p"), 1, STDIN_FILENO);
  tap_ok(fd >= 0, "a file is made");
  snprintf(name, sizeof name, "r-%ld", (long)getpid());
  tap_ok(stat(in_dir(name), &st) == 0, "with the process id in its name");
  tap_int(st.st_mode & 0777, 0600, "for its owner only");
  tap_int(mb_record_write(fd, "a\0b", 3), 0, "bytes are written");
  tap_ok(stat(in_dir(name), &st) == 0 && st.st_size == 3, "all of them");
  close(fd);
  fd = mb_record_open(in_dir("r-%p"), 2, STDIN_FILENO);
  close(fd);
  snprintf(name, sizeof name, "r-%ld.2", (long)getpid());
  tap_ok(fd >= 0 && stat(in_dir(name), &st) == 0, "the second of a process has a name of its own");
  snprintf(name, sizeof name, "r-%ld", (long)getpid());
  tap_ok(stat(in_dir(name), &st) == 0 && st.st_size == 3, "and leaves the first as it is");
  if (chmod(in_dir(name), 0666) != 0) tap_bail("chmod");
  fd = mb_record_open(in_dir(name), 1, STDIN_FILENO);
  close(fd);
  tap_ok(stat(in_dir(name), &st) == 0 && st.st_size == 0, "a file that was there is emptied");
  tap_int(st.st_mode & 0777, 0600, "and is for its owner only from then on");
  int input = open(in_dir(name), O_RDONLY);
  tap_int(mb_record_open(in_dir(name), 1, input), -EINVAL, "a file is not recorded onto itself");
  close(input);
  if (symlink(name, in_dir("link")) != 0) tap_bail("symlink");
  tap_int(mb_record_open(in_dir("link"), 1, STDIN_FILENO), -ELOOP,
          "a symbolic link is not followed");
  unlink(in_dir("link"));
  if (link(in_dir(name), in_dir("link")) != 0) tap_bail("link");
  int writer = open(in_dir(name), O_WRONLY);
  tap_int(mb_record_write(writer, "old", 3), 0, "a file with two names");
  close(writer);
  tap_int(mb_record_open(in_dir("link"), 1, STDIN_FILENO), -EPERM, "is not recorded to");
  tap_ok(stat(in_dir(name), &st) == 0 && st.st_size == 3, "and stays as it is");
  unlink(in_dir("link"));
  if (geteuid() == 0) {
    if (chown(in_dir(name), 65534, 65534) != 0) tap_bail("chown");
    tap_int(mb_record_open(in_dir(name), 1, STDIN_FILENO), -EPERM,
            "nor is a file of another user, even by root");
    tap_ok(stat(in_dir(name), &st) == 0 && st.st_size == 3, "and it stays as it is");
  }
  unlink(in_dir(name));
  mode_t mask = umask(0);
  close(mb_record_open(in_dir("open"), 1, STDIN_FILENO));
  tap_ok(stat(in_dir("open"), &st) == 0 && (st.st_mode & 07777) == 0600, "0600 without an umask");
  unlink(in_dir("open"));
  umask(0777);
  close(mb_record_open(in_dir("shut"), 1, STDIN_FILENO));
  tap_ok(stat(in_dir("shut"), &st) == 0 && (st.st_mode & 07777) == 0600, "and with any umask");
  unlink(in_dir("shut"));
  umask(mask);
  fd = mb_record_open(in_dir("a%%b"), 1, STDIN_FILENO);
  close(fd);
  tap_ok(unlink(in_dir("a%b")) == 0, "two percent signs stand for one");
  time_t before = time(NULL);
  fd = mb_record_open(in_dir("%t"), 1, STDIN_FILENO);
  close(fd);
  snprintf(name, sizeof name, "%lld", (long long)before);
  bool now = stat(in_dir(name), &st) == 0;
  snprintf(name, sizeof name, "%lld", (long long)before + 1);
  tap_ok(now || stat(in_dir(name), &st) == 0, "the time in its name");
  unlink(in_dir(name));
  snprintf(name, sizeof name, "%lld", (long long)before);
  unlink(in_dir(name));

  tap_int(mb_record_open(in_dir("missing/r"), 1, STDIN_FILENO), -ENOENT,
          "a directory that is not there");
  tap_int(mb_record_open("/dev/null", 1, STDIN_FILENO), -EINVAL,
          "a device is no file to record to");
  if (mkfifo(in_dir("fifo"), 0600) != 0) tap_bail("mkfifo");
  tap_int(mb_record_open(in_dir("fifo"), 1, STDIN_FILENO), -ENXIO,
          "a FIFO without a reader does not block");
  int reader = open(in_dir("fifo"), O_RDONLY | O_NONBLOCK);
  tap_int(mb_record_open(in_dir("fifo"), 1, STDIN_FILENO), -EINVAL,
          "nor is one with a reader taken");
  close(reader);
  unlink(in_dir("fifo"));
  fd = open("/dev/full", O_WRONLY);
  tap_int(mb_record_write(fd, "x", 1), -ENOSPC, "a full disk is an error");
  close(fd);
  char *lots = malloc(10001);
  memset(lots, 'x', 10000);
  lots[10000] = '\0';
  tap_int(mb_record_open(lots, 1, STDIN_FILENO), -ENAMETOOLONG, "so is a name that is too long");
  free(lots);
}

int main(void) {
  if (!mkdtemp(dir)) tap_bail("mkdtemp");
  records();
  rmdir(dir);
  return tap_done();
}
