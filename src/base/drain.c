/* Draining. Asks memory and no system call: a response asks it each time. */
#include "base/drain.h"

#include <stddef.h>

#include "base/sigterm.h"

static const volatile unsigned char *flag;
static int told_fd = -1;

void mb_drain_watch(int fd, const volatile unsigned char *begun) {
  told_fd = fd;
  flag = begun;
  mb_sigterm_hold();
}

bool mb_drain_begun(void) { return flag && (*flag || mb_sigterm_held()); }

int mb_drain_fd(void) { return told_fd; }
