/* Opens files below a directory: by openat2(2), or segment by segment where there is none. */
#include "base/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* openat2 gives EAGAIN when somebody renames a directory, so that it cannot know where a ".." of a link leads to. */
#define TRIES_MAX 16

/* openat2 refuses flags that have no effect, as O_NOCTTY with O_PATH. */
static int with_ours(int flags) { return flags | O_CLOEXEC | (flags & O_PATH ? 0 : O_NOCTTY); }

/* The functions of the C library for these calls would be looked up at every start: see base/rare.h. */
static int open_at(int directory, const char *name, int flags) {
  int fd;
  do {
    fd = (int)syscall(SYS_openat, directory, name, with_ours(flags), 0);
  } while (fd < 0 && errno == EINTR);
  return fd < 0 ? -errno : fd;
}

/* Copies the segment before the next slash, and goes behind it. Returns false when no file has such a name. */
static bool next_segment(const char **path, char segment[NAME_MAX + 1]) {
  size_t size = strcspn(*path, "/");
  if (size == 0 || size > NAME_MAX) return false;
  memcpy(segment, *path, size);
  segment[size] = '\0';
  *path += size;
  *path += strspn(*path, "/");
  return strcmp(segment, "..") != 0;
}

/* Returns whether it is a symbolic link: O_PATH opens the link itself, where other flags are refused. */
static bool is_link(int fd) {
  struct stat about;
  return fstat(fd, &about) == 0 && S_ISLNK(about.st_mode);
}

int mb_beneath_walk(int root, const char *path, int flags) {
  char segment[NAME_MAX + 1];
  int directory = root, fd;
  do {
    if (!next_segment(&path, segment)) {
      fd = -ENOENT;
      break;
    }
    bool is_last = *path == '\0';
    fd = open_at(directory, segment, O_NOFOLLOW | (is_last ? flags : O_PATH));
    if (fd >= 0 && (!is_last || flags & O_PATH) && is_link(fd)) {
      close(fd);
      fd = -ELOOP;
    }
    if (directory != root) close(directory);
    directory = fd;
    if (is_last) return fd;
  } while (fd >= 0);
  if (directory != root && directory >= 0) close(directory);
  return fd;
}

int mb_beneath_open(int root, const char *path, int flags) {
  static bool is_missing;
  struct open_how how = {.flags = (unsigned)with_ours(flags),
                         .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
  if (is_missing) return mb_beneath_walk(root, path, flags);
  int fd, tries = 0;
  do {
    fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
  } while (fd < 0 && (errno == EINTR || (errno == EAGAIN && ++tries < TRIES_MAX)));
  if (fd >= 0) return fd;
  int number = errno;
  is_missing = number == ENOSYS;
  /* An old filter of system calls refuses what it does not know. */
  if (number == ENOSYS || number == EPERM) return mb_beneath_walk(root, path, flags);
  return -number;
}
