/* Loads libsystemd at run time. A connection that does not need it must not come here. */
#include "base/sd.h"

#include <dlfcn.h>
#include <errno.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#define JOURNAL_STREAM_SOCKET "/run/systemd/journal/stdout"

int mb_sd_journal_stream(void) {
  if (access(JOURNAL_STREAM_SOCKET, W_OK) != 0) return -errno;
  void *library = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);
  if (!library) return -ENOSYS;
  int (*stream_fd)(const char *, int, int);
  *(void **)&stream_fd = dlsym(library, "sd_journal_stream_fd");
  /* The library stays loaded: unloading it costs more than the end of the process does. */
  return stream_fd ? stream_fd("mb-handle", LOG_INFO, 1) : -ENOSYS;
}
