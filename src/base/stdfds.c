/* Descriptors 0, 1 and 2. Runs before anything may print. */
#include "base/stdfds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log_line.h"
#include "base/log_printed.h"
#include "base/sd.h"

static int open_null(void) {
  int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

/* Puts fd on target, without close-on-exec, and closes fd. */
static int move_to(int fd, int target) {
  int r = dup2(fd, target) < 0 ? -errno : 0;
  close(fd);
  return r;
}

/* Opens /dev/null on those of 0, 1, 2 that are closed, and sets the bit of each in *closed. */
static int fill_closed(unsigned *closed) {
  for (int fd = 0; fd <= 2; fd++) {
    if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
    /* open takes the lowest free descriptor, which is this one. */
    if (open("/dev/null", O_RDWR) < 0) return -errno;
    *closed |= 1u << fd;
  }
  return 0;
}

static bool same_file(const struct stat *a, const struct stat *b) {
  return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/*
 * $JOURNAL_STREAM is "DEVICE:INODE" of the stream that the service manager made (systemd.exec(5)).
 */
static bool is_journal_stream(const struct stat *st) {
  const char *text = getenv("JOURNAL_STREAM");
  unsigned long long device, inode;
  char extra;
  if (!text || sscanf(text, "%llu:%llu%c", &device, &inode, &extra) != 2) return false;
  return device == st->st_dev && inode == st->st_ino;
}

static int open_syslog(void) {
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
  if (connect(fd, (const struct sockaddr *)&name, sizeof name) == 0) return fd;
  int r = -errno;
  close(fd);
  return r;
}

/*
 * Opens a place for the log. It tries /dev/log first: the journal serves that as well, and it costs
 * nothing until we write. A journal stream has a price for every connection: we load libsystemd, and
 * the journal keeps a record of the stream.
 */
static int open_log(enum mb_log_target *ret_target) {
  int fd = open_syslog();
  if (fd >= 0) {
    *ret_target = MB_LOG_SYSLOG;
    return fd;
  }
  fd = mb_sd_journal_stream();
  if (fd >= 0) {
    *ret_target = MB_LOG_JOURNAL;
    return fd;
  }
  *ret_target = MB_LOG_PLAIN;
  return open_null();
}

/* Returns whether the descriptor is the socket that st describes. */
static bool is_socket(int fd, const struct stat *st) {
  struct stat other;
  return S_ISSOCK(st->st_mode) && fstat(fd, &other) == 0 && same_file(st, &other);
}

/* Gives the log a place of its own on fd 2. */
static int replace_stderr(void) {
  enum mb_log_target target;
  int fd = open_log(&target);
  if (fd < 0) return fd;
  int r = move_to(fd, STDERR_FILENO);
  if (r < 0) return r;
  mb_log_set_target(target);
  return 0;
}

int mb_stdfds_prepare(unsigned *ret_closed) {
  unsigned closed = 0;
  int r = fill_closed(&closed);
  if (r < 0) return r;
  struct stat err;
  if (fstat(STDERR_FILENO, &err) != 0) return -errno;
  /*
   * inetd puts the connection on 0, 1 and 2; so do systemd's StandardInput= and StandardOutput=. But a
   * journal stream is a socket, too, and may stand on 1 and 2.
   */
  if (is_journal_stream(&err)) {
    mb_log_set_target(MB_LOG_JOURNAL);
  } else if (closed & 1u << STDERR_FILENO || is_socket(STDIN_FILENO, &err) ||
             is_socket(STDOUT_FILENO, &err)) {
    r = replace_stderr();
    if (r < 0) return r;
  }
  *ret_closed = closed;
  return 0;
}

/* Returns a close-on-exec descriptor above 2 for the same open file, or -errno. */
static int above_stdio(int fd) {
  if (fd > STDERR_FILENO) return fd;
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  return copy < 0 ? -errno : copy;
}

bool mb_stdfds_has_stdout(const struct mb_activation *activation, unsigned closed) {
  struct stat given;
  if (closed & 1u << STDOUT_FILENO) return false;
  if (!activation) return true;
  if (activation->given == MB_GIVEN_FILE) return false;
  return fstat(activation->fd, &given) == 0 && !is_socket(STDOUT_FILENO, &given);
}

int mb_stdfds_take(const struct mb_activation *activation, struct mb_stdfds *ret) {
  int in = above_stdio(activation->fd);
  if (in < 0) return in;
  int out = activation->given == MB_GIVEN_FILE ? above_stdio(STDOUT_FILENO) : in;
  int r = out;
  if (r < 0) goto fail;
  struct stat given = {0};
  bool by_systemd = activation->fd > STDERR_FILENO && fstat(activation->fd, &given) == 0;
  if (by_systemd && is_socket(STDERR_FILENO, &given)) {
    r = replace_stderr();
    if (r < 0) goto fail;
  }
  if (!by_systemd || is_socket(STDIN_FILENO, &given)) {
    r = open_null();
    if (r < 0) goto fail;
    r = move_to(r, STDIN_FILENO);
    if (r < 0) goto fail;
  }
  /* Without memory for that, what is printed is lost: none of it reaches the log as it is. */
  if (mb_log_capture_stdio() == 0) {
    r = dup2(STDERR_FILENO, STDOUT_FILENO) < 0 ? -errno : 0;
  } else {
    r = open_null();
    if (r >= 0) r = move_to(r, STDOUT_FILENO);
  }
  if (r < 0) goto fail;
  ret->in = in;
  ret->out = out;
  return 0;

fail:
  if (in > STDERR_FILENO && in != activation->fd) close(in);
  if (out > STDERR_FILENO && out != in) close(out);
  return r;
}
