/* Installs a filter that was made when mb-handle was built. */
#include "sandbox/filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel answers so when it knows no filters, or when it was told to hide them. */
static int status_of(int error) { return error == EINVAL ? -ENOSYS : -error; }

int mb_filter_install(unsigned number) {
  size_t begin = mb_filters_at[number], end = mb_filters_at[number + 1];
  if (end == begin) return -ENOSYS;
  const struct sock_fprog program = {.len = (unsigned short)(end - begin),
                                     .filter = (struct sock_filter *)mb_filters + begin};
  long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
  if (r > 0) return -EBUSY; /* the number of a thread that has a filter of its own */
  return r == 0 ? 0 : status_of(errno);
}

bool mb_filter_exists(void) {
  const uint32_t action = SECCOMP_RET_ERRNO;
  if (mb_filters_at[MB_FILTER_ALWAYS + 1] == 0) return false;
  return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}
