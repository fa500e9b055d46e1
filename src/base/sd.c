/*
 * Speaks to the service manager by itself, and loads libsystemd at run time for the journal's stream. A connection that
 * does not need that must not come here.
 */
#include "base/sd.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "base/rare.h"

#define JOURNAL_STREAM_SOCKET "/run/systemd/journal/stdout"

/*
 * Finds a function of the library, and loads it if need be. The library stays loaded: unloading it costs more than the
 * end of the process does.
 * function  the address of a pointer to the function; it becomes NULL where there is none
 */
static void find(const char *name, void **function) {
  void *library = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);
  *function = library ? dlsym(library, name) : NULL;
}

int mb_sd_journal_stream(void) {
  if (access(JOURNAL_STREAM_SOCKET, W_OK) != 0) return -errno;
  int (*stream_fd)(const char *, int, int);
  find("sd_journal_stream_fd", (void **)&stream_fd);
  return stream_fd ? stream_fd("mb-handle", LOG_INFO, 1) : -ENOSYS;
}

/*
 * Makes the address of $NOTIFY_SOCKET. Returns its size; 0: nobody wants to be told; or -errno: -EAFNOSUPPORT for one
 * that is no Unix socket, such as that of a virtual machine's host.
 */
static int notify_address(struct sockaddr_un *ret) {
  const char *path = getenv("NOTIFY_SOCKET");
  if (!path || !*path) return 0;
  size_t len = strlen(path);
  if ((*path != '/' && *path != '@') || len == 1) return -EAFNOSUPPORT;
  if (len >= sizeof ret->sun_path) return -ENAMETOOLONG;
  *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
  memcpy(ret->sun_path, path, len);
  if (*path == '@') ret->sun_path[0] = '\0'; /* an abstract name has no NUL at its end */
  return (int)(offsetof(struct sockaddr_un, sun_path) + len + (*path == '/'));
}

int mb_sd_notify(const char *state) {
  struct sockaddr_un address;
  int size = notify_address(&address);
  if (size <= 0) return size;
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  int r = 0;
  while (MB_RARE(sendto)(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address,
                         (socklen_t)size) < 0) {
    r = -errno;
    if (r != -EINTR) break;
    r = 0;
  }
  close(fd);
  return r;
}

/* Reads a variable that is a whole number. Returns whether it is one. */
static bool get_number(const char *name, uint64_t *ret) {
  const char *text = getenv(name);
  char *end;
  if (!text || *text < '0' || *text > '9') return false;
  errno = 0;
  *ret = strtoull(text, &end, 10);
  return *end == '\0' && errno == 0;
}

uint64_t mb_sd_watchdog_usec(void) {
  uint64_t pid, usec;
  if (getenv("WATCHDOG_PID") && (!get_number("WATCHDOG_PID", &pid) || pid != (uint64_t)getpid()))
    return 0;
  /* As in sd_watchdog_enabled(3): the greatest number is none. */
  return get_number("WATCHDOG_USEC", &usec) && usec != UINT64_MAX ? usec : 0;
}
