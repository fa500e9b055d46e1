/* Installs a filter that was made when mb-handle was built. */
#include "sandbox/filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int mb_filter_install(unsigned number, bool threads) {
  size_t begin = mb_filters_at[number], end = mb_filters_at[number + 1];
  if (end == begin) return -ENOSYS;
  const struct sock_fprog program = {.len = (unsigned short)(end - begin),
                                     .filter = (struct sock_filter *)mb_filters + begin};
  if (threads &&
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0)
    return 0;
  /* Not seccomp(2), which SystemCallFilter=@system-service of a unit does not allow. */
  if (syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0) return 0;
  return errno == EINVAL ? -ENOSYS : -errno; /* so a kernel answers that knows no filters */
}

bool mb_filter_is_any(void) {
  return syscall(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0) == SECCOMP_MODE_FILTER;
}

bool mb_filter_exists(void) {
  if (mb_filters_at[MB_FILTER_ALWAYS + 1] == 0) return false;
  /* No program is at address 0: a kernel that knows filters says so. */
  return syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0) != 0 &&
         errno == EFAULT;
}
