/* --record. Must never disturb the connection: a failure ends the recording only. */
#include "base/record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/rare.h"

/* Returns 0 or -ENAMETOOLONG. */
static int expand(const char *name, unsigned number, char path[PATH_MAX]) {
  size_t at = 0;
  for (; *name; name++) {
    int n;
    if (name[0] == '%' && name[1] == 'p') {
      n = snprintf(path + at, PATH_MAX - at, number > 1 ? "%ld.%u" : "%ld", (long)getpid(), number);
    } else if (name[0] == '%' && name[1] == 't') {
      n = snprintf(path + at, PATH_MAX - at, "%lld", (long long)time(NULL));
    } else {
      n = snprintf(path + at, PATH_MAX - at, "%c", *name);
    }
    if (name[0] == '%' && name[1]) name++;
    at += (size_t)n;
    if (at >= PATH_MAX) return -ENAMETOOLONG;
  }
  return 0;
}

/*
 * Empties the file. Returns 0, or -errno; -EINVAL when it is not to be written to: a FIFO would block,
 * a device may do anything; -EPERM when it may not be ours alone: in a directory where others can write,
 * somebody may have put a file of his own there, or a hard link to one of ours.
 */
static int prepare(int fd, int input) {
  struct stat st, other;
  if (fstat(fd, &st) != 0) return -errno;
  if (!S_ISREG(st.st_mode)) return -EINVAL;
  if (st.st_uid != mb_rare_geteuid() || st.st_nlink != 1) return -EPERM;
  if (fstat(input, &other) == 0 && st.st_dev == other.st_dev && st.st_ino == other.st_ino) {
    return -EINVAL;
  }
  /* Input may hold passwords. A new file has this mode, and a sandbox would refuse to set it. */
  if ((st.st_mode & 07777) != 0600 && MB_RARE(fchmod)(fd, 0600) != 0) return -errno;
  if (MB_RARE_LARGE(ftruncate)(fd, 0) != 0) return -errno;
  return 0;
}

int mb_record_open(const char *name, unsigned number, int input) {
  char path[PATH_MAX];
  int r = expand(name, number, path);
  if (r < 0) return r;
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK, 0600);
  if (fd < 0) return -errno;
  r = prepare(fd, input);
  if (r == 0) return fd;
  close(fd);
  return r;
}

int mb_record_write(int fd, const void *data, size_t len) {
  const char *at = data;
  while (len > 0) {
    ssize_t n = write(fd, at, len);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -errno;
    at += n;
    len -= (size_t)n;
  }
  return 0;
}
