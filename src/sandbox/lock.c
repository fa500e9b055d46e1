/* Locks the process: limits first, then Landlock, which needs system calls that the filter then may refuse. */
#include <errno.h>
#include <linux/capability.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/single_threaded.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/rare.h"
#include "sandbox/filter.h"
#include "sandbox/landlock.h"
#include "sandbox/sandbox.h"

static bool is_always_locked, is_locked;
static bool is_filtered; /* by somebody else */

bool mb_sandbox_is_locked(void) { return is_locked; }

#ifdef __SANITIZE_ADDRESS__
int __lsan_is_turned_off(void);

/* The sanitizer asks this at the end. It finds leaks by tracing the process, which a locked one does not allow. */
int __lsan_is_turned_off(void) { return is_locked; }
#endif

const char *mb_sandbox_missing_text(unsigned bit) {
  static const char texts[MB_MISSING_BITS][184] = {
      "there are no seccomp filters on this machine: system calls are not refused",
      "this kernel has no Landlock: files, TCP ports and signals are not limited",
      "this kernel's Landlock is older than ABI 3: files that must not be written can be cut",
      "this kernel's Landlock is older than ABI 4: TCP ports are not limited",
      "this kernel's Landlock is older than ABI 6: signals and abstract sockets are not limited",
      ("the service manager forbids Landlock (SystemCallFilter= lacks landlock_create_ruleset, "
       "landlock_add_rule and landlock_restrict_self): files, TCP ports and signals are not "
       "limited"),
      "the process has other threads, which a module has started: Landlock does not hold for them",
  };
  for (int i = 0; i < MB_MISSING_BITS; i++) {
    if (bit == 1u << i) return texts[i];
  }
  return "";
}

/*
 * Returns whether the process has more than one thread. /proc, where each is a directory, would take longer than the rest
 * of the lock: it is asked when there has ever been another.
 */
static bool has_threads(void) {
  struct stat st;
  if (__libc_single_threaded) return false;
  return stat("/proc/self/task", &st) != 0 || st.st_nlink > 3;
}

/*
 * A filter of the service manager may kill whoever uses Landlock, which is younger than systemd's @system-service. A
 * process that does nothing else tries it.
 */
static bool is_landlock_deadly(void) {
  int status = 0;
  if (!is_filtered) return false;
  pid_t pid = vfork();
  if (pid == 0) {
    mb_landlock_abi();
    _exit(0);
  }
  if (pid < 0) return false;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  return WIFSIGNALED(status);
}

/* Returns what this version of Landlock lacks. Where no connection is wished, the filter refuses them all. */
static unsigned missing_by_abi(int abi, unsigned wishes) {
  unsigned missing = 0;
  if (abi == -EPERM) return MB_MISSING_PERMISSION;
  if (abi == 0) return MB_MISSING_LANDLOCK;
  if (abi < 3) missing |= MB_MISSING_TRUNCATE;
  if (abi < 4 && (wishes & MB_WISH_TCP) && !(wishes & MB_WISH_ANY_TCP)) missing |= MB_MISSING_TCP;
  if (abi < 6) missing |= MB_MISSING_SCOPE;
  return missing;
}

unsigned mb_sandbox_probe(const struct mb_sandbox *sandbox) {
  unsigned missing = mb_filter_exists() ? 0 : MB_MISSING_SECCOMP;
  if (!is_always_locked) is_filtered = mb_filter_is_any();
  if (sandbox && is_landlock_deadly()) return missing | MB_MISSING_PERMISSION;
  if (sandbox) missing |= missing_by_abi(mb_landlock_abi(), sandbox->wishes);
  return missing;
}

/* Of processor time, between the signal that a process can handle and the one that kills it. */
#define LAST_SECONDS 2

/* Sets a limit. */
static int limit(int resource, int64_t value) {
  if (value == MB_LIMIT_NOT_SAID) return 0;
  struct rlimit64 now, wanted = {.rlim_cur = (rlim64_t)value, .rlim_max = (rlim64_t)value};
  if (resource == RLIMIT_CPU) wanted.rlim_max += LAST_SECONDS;
  if (syscall(SYS_prlimit64, 0, resource, NULL, &now) != 0) return -errno;
  /* A limit that was set from outside stays when it is lower. */
  if (now.rlim_max < wanted.rlim_max) wanted.rlim_max = now.rlim_max;
  if (wanted.rlim_max < wanted.rlim_cur) wanted.rlim_cur = wanted.rlim_max;
  return syscall(SYS_prlimit64, 0, resource, &wanted, NULL) == 0 ? 0 : -errno;
}

static int set_limits(const struct mb_sandbox *s) {
  int r = limit(RLIMIT_CPU, s->cpu_seconds);
  if (r == 0) r = limit(RLIMIT_NOFILE, s->open_files);
  if (r == 0) r = limit(RLIMIT_FSIZE, s->file_size);
  if (r == 0) r = limit(RLIMIT_NPROC, s->processes);
  return r;
}

/* Nobody gains privileges by a program, and nobody reads the memory: neither from a core dump nor by tracing. */
static int close_privileges(void) {
  if (is_always_locked) return 0;
  is_filtered = mb_filter_is_any();
  if (syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -errno;
#ifndef __SANITIZE_ADDRESS__ /* which traces the process at its end */
  if (syscall(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return -errno;
#endif
  /* Children that are dumpable again have none either. */
  static const struct rlimit64 none;
  return syscall(SYS_prlimit64, 0, RLIMIT_CORE, &none, NULL) == 0 ? 0 : -errno;
}

/* What root may do past file permissions stays, and so does changing the user. */
#define KEPT_CAPABILITIES                                                                     \
  (1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH | 1u << CAP_SETUID | 1u << CAP_SETGID | \
   1u << CAP_NET_BIND_SERVICE)

/* Root has privileges over the network, the clock and other processes, which no wish names. */
static int drop_capabilities(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2];
  /* The service manager's filter may kill who changes them; then they are the manager's affair. */
  if (is_filtered || mb_rare_geteuid() != 0) return 0;
  if (syscall(SYS_capget, &header, data) != 0) return -errno;
  data[0].permitted &= KEPT_CAPABILITIES;
  data[0].effective &= KEPT_CAPABILITIES;
  data[0].inheritable = data[1].permitted = data[1].effective = data[1].inheritable = 0;
  return syscall(SYS_capset, &header, data) == 0 ? 0 : -errno;
}

static int install(unsigned number, unsigned *missing) {
  int r = mb_filter_install(number, has_threads());
  if (r == -ENOSYS || r == -EPERM) { /* EPERM: a filter of the service manager forbids ours */
    *missing |= MB_MISSING_SECCOMP;
    r = 0;
  }
  return r;
}

int mb_sandbox_lock_always(unsigned *ret_missing) {
  unsigned missing = 0;
  int r = close_privileges();
  if (r == 0 && !is_always_locked) r = install(MB_FILTER_ALWAYS, &missing);
  if (r < 0) return r;
  is_always_locked = true;
  *ret_missing = missing;
  return 0;
}

static int add_rules(const struct mb_landlock *l, const struct mb_sandbox_path *paths, size_t count,
                     const char **ret_path) {
  for (size_t i = 0; i < count; i++) {
    int r = mb_landlock_allow(l, &paths[i]);
    if (r < 0) {
      *ret_path = paths[i].path;
      return r;
    }
  }
  return 0;
}

/* Limits files, ports and signals. */
static int enter_landlock(const struct mb_sandbox *s, const struct mb_sandbox_path *more,
                          size_t more_count, unsigned *missing, const char **ret_path) {
  struct mb_landlock l;
  if (is_landlock_deadly()) {
    *missing |= MB_MISSING_PERMISSION;
    return 0;
  }
  int r = mb_landlock_open(&l, s->wishes);
  if (r == -ENOSYS || r == -EOPNOTSUPP || r == -EPERM) {
    *missing |= r == -EPERM ? MB_MISSING_PERMISSION : MB_MISSING_LANDLOCK;
    return 0;
  }
  if (r < 0) return r;
  *missing |= missing_by_abi(l.abi, s->wishes);
  r = add_rules(&l, s->paths, s->path_count, ret_path);
  if (r == 0) r = add_rules(&l, more, more_count, ret_path);
  for (size_t i = 0; i < s->port_count && r == 0; i++) r = mb_landlock_allow_port(&l, s->ports[i]);
  if (r == 0) r = mb_landlock_enter(&l);
  mb_landlock_close(&l);
  return r;
}

#ifdef MB_GCOV
void __gcov_dump(void);
#define WRITE_COUNTS() __gcov_dump() /* there will be no file to write to */
#else
#define WRITE_COUNTS() ((void)0)
#endif

int mb_sandbox_lock(const struct mb_sandbox *s, const struct mb_sandbox_path *more,
                    size_t more_count, unsigned *ret_missing, const char **ret_path) {
  unsigned missing = has_threads() ? MB_MISSING_THREADS : 0;
  *ret_path = NULL;
  WRITE_COUNTS();
  int r = set_limits(s);
  if (r == 0) r = close_privileges();
  if (r == 0) r = enter_landlock(s, more, more_count, &missing, ret_path);
  if (r == 0) r = drop_capabilities();
  if (r == 0) r = install(MB_FILTER_OF(s->wishes % MB_WISHES_OF_FILTERS), &missing);
  if (r < 0) return r;
  is_always_locked = is_locked = true;
  *ret_missing = missing;
  return 0;
}
