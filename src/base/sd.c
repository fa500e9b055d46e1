/* Loads libsystemd at run time. A connection that does not need it must not come here. */
#include "base/sd.h"

#include <dlfcn.h>
#include <errno.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

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

int mb_sd_notify(const char *state) {
  int (*notify)(int, const char *);
  find("sd_notify", (void **)&notify);
  if (!notify) return -ENOSYS;
  int r = notify(0, state);
  return r < 0 ? r : 0;
}

uint64_t mb_sd_watchdog_usec(void) {
  int (*enabled)(int, uint64_t *);
  find("sd_watchdog_enabled", (void **)&enabled);
  uint64_t usec = 0;
  return enabled && enabled(0, &usec) > 0 ? usec : 0;
}
