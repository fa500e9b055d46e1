/*
 * System calls that few processes make, without the C library's functions for them: each function of a shared
 * library that we link to is looked up at every start, some 600 instructions for every connection. Each of
 * these does and returns what the function of its name does, see section 2 of the manual.
 */
#ifndef MB_RARE_H
#define MB_RARE_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* On some 32-bit systems the plain call knows 16 bits of a user's number. */
#ifdef SYS_geteuid32
#define MB_SYS(name) SYS_##name##32
#else
#define MB_SYS(name) SYS_##name
#endif

static inline uid_t mb_rare_geteuid(void) { return (uid_t)syscall(MB_SYS(geteuid)); }

/* Sets the real, the effective and the saved group. */
static inline int mb_rare_setresgid(gid_t gid) {
  return (int)syscall(MB_SYS(setresgid), gid, gid, gid);
}

/* Sets the real, the effective and the saved user. */
static inline int mb_rare_setresuid(uid_t uid) {
  return (int)syscall(MB_SYS(setresuid), uid, uid, uid);
}

static inline int mb_rare_setsid(void) { return (int)syscall(SYS_setsid); }

static inline int mb_rare_setpgid(pid_t pid, pid_t group) {
  return (int)syscall(SYS_setpgid, pid, group);
}

static inline int mb_rare_chdir(const char *path) { return (int)syscall(SYS_chdir, path); }

/* From the pool of random numbers of the kernel, once it is ready. */
static inline ssize_t mb_rare_getrandom(void *buffer, size_t size) {
  return syscall(SYS_getrandom, buffer, size, 0);
}

static inline int mb_rare_madvise(void *begin, size_t size, int advice) {
  return (int)syscall(SYS_madvise, begin, size, advice);
}

/* prctl with one argument; the others are zeros. */
static inline int mb_rare_prctl(int option, unsigned long value) {
  return (int)syscall(SYS_prctl, option, value, 0UL, 0UL, 0UL);
}

/*
 * The functions of the C library that are looked up when they are called. mb-handle-static has them by these lists: it
 * looks nothing up (src/static/modules.c). Those of the second have another name where sizes of files have 64 bits and
 * pointers 32.
 */
#define MB_RARE_FUNCTIONS(X) \
  X(bind)                    \
  X(chmod)                   \
  X(clock_nanosleep)         \
  X(closedir)                \
  X(eventfd)                 \
  X(fchmod)                  \
  X(freeaddrinfo)            \
  X(fsync)                   \
  X(gai_strerror)            \
  X(getaddrinfo)             \
  X(getcwd)                  \
  X(gethostbyaddr)           \
  X(gethostbyname)           \
  X(gethostname)             \
  X(getnameinfo)             \
  X(getprotobyname)          \
  X(getprotobynumber)        \
  X(hstrerror)               \
  X(if_indextoname)          \
  X(inet_aton)               \
  X(inotify_add_watch)       \
  X(inotify_init1)           \
  X(listen)                  \
  X(malloc_trim)             \
  X(memfd_create)            \
  X(memmove)                 \
  X(munmap)                  \
  X(opendir)                 \
  X(pipe2)                   \
  X(realpath)                \
  X(recvfrom)                \
  X(recvmsg)                 \
  X(sendto)                  \
  X(signalfd)                \
  X(socketpair)              \
  X(strdup)                  \
  X(strsignal)               \
  X(sysconf)                 \
  X(umask)

#define MB_RARE_LARGE_FUNCTIONS(X) \
  X(ftruncate)                     \
  X(lseek)                         \
  X(lstat)                         \
  X(mmap)                          \
  X(readdir)

#if defined __USE_FILE_OFFSET64 && !defined __LP64__
#define MB_RARE_LARGE_NAME(name) #name "64"
#else
#define MB_RARE_LARGE_NAME(name) #name
#endif

#define MB_RARE_IS_LISTED(name) mb_rare_is_listed_##name,
#define MB_RARE_IS_LARGE(name)  mb_rare_is_large_##name,
enum { MB_RARE_FUNCTIONS(MB_RARE_IS_LISTED) MB_RARE_LARGE_FUNCTIONS(MB_RARE_IS_LARGE) };
#undef MB_RARE_IS_LISTED
#undef MB_RARE_IS_LARGE

/*
 * A function of the first list: MB_RARE(munmap)(...). Each call looks it up again. It is there, as it is a part of the
 * C library. The name of a function that the list lacks does not compile.
 */
#define MB_RARE(name) \
  ((void)mb_rare_is_listed_##name, (__typeof__(&name))dlsym(RTLD_DEFAULT, #name))

/* The same for one of the second list. */
#define MB_RARE_LARGE(name) \
  ((void)mb_rare_is_large_##name, (__typeof__(&name))dlsym(RTLD_DEFAULT, MB_RARE_LARGE_NAME(name)))

/* isatty(3): nothing but a terminal has the size of a window. */
static inline bool mb_rare_isatty(int fd) {
  struct winsize size;
  return ioctl(fd, TIOCGWINSZ, &size) == 0;
}

#endif
