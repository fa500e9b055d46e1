/* The first process of a pool reads its signals from a descriptor (signalfd(2)): none can come between two steps. */
#include "app/pool_signals.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/rare.h"

int mb_pool_signals_catch(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, NULL);
  int fd = MB_RARE(signalfd)(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

enum mb_pool_signal mb_pool_signals_next(int fd) {
  struct signalfd_siginfo info;
  if (read(fd, &info, sizeof info) != sizeof info) return MB_POOL_SIGNAL_NONE;
  switch (info.ssi_signo) {
    case SIGCHLD:
      return MB_POOL_SIGNAL_CHILD;
    case SIGINT:
      return MB_POOL_SIGNAL_INTERRUPT;
    case SIGHUP:
      /* The kernel sends it when a terminal is closed, and then nobody wants the pool to stay. */
      return info.ssi_code == SI_KERNEL ? MB_POOL_SIGNAL_END : MB_POOL_SIGNAL_RELOAD;
    default:
      return MB_POOL_SIGNAL_END;
  }
}

void mb_pool_signals_leave(int fd) {
  sigset_t set;
  close(fd);
  sigfillset(&set);
  /* Programs that the script starts while it loads inherit the mask. */
  sigprocmask(SIG_UNBLOCK, &set, NULL);
}
