/* Finds out what we were started with. Must not load libsystemd: this runs for every connection. */
#include "base/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Reads a number as systemd's parsers do: white space, a sign, and C's prefixes for hexadecimal and
 * octal may stand in front. Nothing may follow.
 */
static int parse_number(const char *text, long *ret_number) {
  char *end;
  errno = 0;
  long number = strtol(text, &end, 0);
  if (errno != 0) return -errno;
  if (end == text || *end != '\0') return -EINVAL;
  *ret_number = number;
  return 0;
}

static int parse_pid(const char *text, pid_t *ret_pid) {
  long number;
  int r = parse_number(text, &number);
  if (r < 0) return r;
  /* systemd reads an unsigned number here: a minus sign is out of range, not malformed. */
  if (number <= 0 || (pid_t)number != number) return -ERANGE;
  *ret_pid = (pid_t)number;
  return 0;
}

/*
 * Counts the names in LISTEN_FDNAMES. Colons separate them; a character behind a backslash means
 * itself.
 * Returns their number, or -EINVAL when nothing follows a backslash.
 */
static int count_names(const char *text) {
  int n = 1;
  for (; *text; text++) {
    if (*text == ':') n++;
    if (*text == '\\' && *++text == '\0') return -EINVAL;
  }
  return n;
}

static int set_cloexec(int fd) {
  int flags = fcntl(fd, F_GETFD);
  if (flags < 0) return -errno;
  if (flags & FD_CLOEXEC) return 0;
  return fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0 ? -errno : 0;
}

static int read_listen_fds(void) {
  const char *names = getenv("LISTEN_FDNAMES");
  int named = names ? count_names(names) : 0;
  if (named < 0) return named;
  const char *pid_text = getenv("LISTEN_PID");
  if (!pid_text) return 0;
  pid_t pid;
  int r = parse_pid(pid_text, &pid);
  if (r < 0) return r;
  if (pid != getpid()) return 0;
  const char *fds_text = getenv("LISTEN_FDS");
  if (!fds_text) return 0;
  long count;
  r = parse_number(fds_text, &count);
  if (r < 0) return r;
  if (count > INT_MAX || count < INT_MIN) return -ERANGE;
  if (count <= 0 || count > INT_MAX - MB_LISTEN_FDS_START) return -EINVAL;
  for (int i = 0; i < (int)count; i++) {
    r = set_cloexec(MB_LISTEN_FDS_START + i);
    if (r < 0) return r;
  }
  if (names && named != count) return -EINVAL;
  return (int)count;
}

/* Returns whether the environment may have one of the variables: a look costs less than three removals. */
static bool may_be_set(void) {
  for (char **variable = environ; variable && *variable; variable++) {
    if (strncmp(*variable, "LISTEN_", strlen("LISTEN_")) == 0) return true;
  }
  return false;
}

int mb_activation_fds(void) {
  if (!may_be_set()) return 0;
  int r = read_listen_fds();
  unsetenv("LISTEN_PID");
  unsetenv("LISTEN_FDS");
  unsetenv("LISTEN_FDNAMES");
  return r;
}

static int socket_option(int fd, int option, int *ret_value) {
  socklen_t len = sizeof *ret_value;
  return getsockopt(fd, SOL_SOCKET, option, ret_value, &len) == 0 ? 0 : -errno;
}

static int given_as(int fd, enum mb_given *ret_given) {
  int type, listening;
  int r = socket_option(fd, SO_TYPE, &type);
  if (r == -ENOTSOCK) {
    *ret_given = MB_GIVEN_FILE;
    return 0;
  }
  if (r < 0) return r;
  if (type != SOCK_STREAM) {
    *ret_given = MB_GIVEN_DATAGRAM;
    return 0;
  }
  r = socket_option(fd, SO_ACCEPTCONN, &listening);
  if (r < 0) return r;
  *ret_given = listening ? MB_GIVEN_LISTENER : MB_GIVEN_CONNECTION;
  return 0;
}

int mb_activation_find(struct mb_activation *ret) {
  struct mb_activation found = {0};
  int r = mb_activation_fds();
  if (r < 0) return r;
  found.count = r;
  found.fd = r > 0 ? MB_LISTEN_FDS_START : STDIN_FILENO;
  r = given_as(found.fd, &found.given);
  if (r < 0) return r;
  *ret = found;
  return 0;
}
