/* --record. Must never disturb the connection: a failure ends the recording only. */
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

/* Returns 0 or -ENAMETOOLONG. */
static int expand(const char *name, char path[PATH_MAX]) {
  size_t at = 0;
  for (; *name; name++) {
    int n;
    if (name[0] == '%' && name[1] == 'p') {
      n = snprintf(path + at, PATH_MAX - at, "%ld", (long)getpid());
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

int mb_record_open(const char *name) {
  char path[PATH_MAX];
  int r = expand(name, path);
  /* Input may hold passwords: it is for its owner only. */
  int fd = r < 0 ? r : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600);
  if (fd >= 0) return fd;
  mb_log(LOG_WARNING, "--record: cannot create %s: %s", name, strerror(r < 0 ? -r : errno));
  return -1;
}

void mb_record_write(int *fd, const void *data, size_t len) {
  const char *at = data;
  while (len > 0) {
    ssize_t n = write(*fd, at, len);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      mb_log(LOG_WARNING, "--record: stopped, cannot write: %s", strerror(errno));
      close(*fd);
      *fd = -1;
      return;
    }
    at += n;
    len -= (size_t)n;
  }
}
