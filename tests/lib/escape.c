/*
 * A Lua module for the tests of the sandbox: raw system calls, as code has them that has taken a handler over.
 * Knows nothing of the sandbox, and must never call a function of libc where one stands between a call and the kernel.
 *
 * syscall(NUMBER, ...)    makes a system call; returns its result, or nil, message, errno
 * int80(NUMBER, ...)      the same by the entry for programs of 32 bits, with their numbers (x86-64 only)
 * thread(NUMBER, ...)     the same in a thread that is new
 * early(NUMBER, ...)      the same in the thread that start_early() has started
 * process(NUMBER, ...)    a call that makes a process; the process ends at once, and its parent waits for it
 * vfork()                 the same by vfork(2), whose child has the memory of its parent
 * start_early()           starts the thread for early()
 * buffer(SIZE)            memory that a call can write to
 * bytes(BUFFER[, SIZE])   its content
 * address(BUFFER|STRING)  where it is in memory, for a structure that string.pack makes
 * crash()                 ends this process as a fault of memory does
 * nr                      the numbers of system calls by their names
 *
 * An argument is an integer, a boolean, nil (both 0 or 1), a string or a buffer (its address).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGS_MAX = 6 };

struct call {
  long nr;
  long args[ARGS_MAX];
  long result; /* as the kernel returns it: negative for an error */
};

/* ---- one call ---- */

static void make(struct call *c) {
  errno = 0;
  long *a = c->args;
  long result = syscall(c->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
  c->result = result == -1 && errno ? -errno : result;
}

static long argument(lua_State *L, int index) {
  switch (lua_type(L, index)) {
    case LUA_TNONE:
    case LUA_TNIL:
      return 0;
    case LUA_TBOOLEAN:
      return lua_toboolean(L, index);
    case LUA_TSTRING:
      return (long)lua_tostring(L, index);
    case LUA_TUSERDATA:
      return (long)lua_touserdata(L, index);
    default:
      return (long)luaL_checkinteger(L, index);
  }
}

static struct call arguments(lua_State *L) {
  struct call c = {.nr = (long)luaL_checkinteger(L, 1)};
  if (lua_gettop(L) > ARGS_MAX + 1) luaL_error(L, "more arguments than a system call has");
  for (int i = 0; i < ARGS_MAX; i++) c.args[i] = argument(L, i + 2);
  return c;
}

static int returns(lua_State *L, long result) {
  if (result >= 0 || result < -4095) {
    lua_pushinteger(L, result);
    return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, strerror((int)-result));
  lua_pushinteger(L, -result);
  return 3;
}

static int escape_syscall(lua_State *L) {
  struct call c = arguments(L);
  make(&c);
  return returns(L, c.result);
}

/* ---- the entry for programs of 32 bits ---- */

#ifdef __x86_64__
/* Strings are copied to where a pointer of 32 bits can point. */
static int escape_int80(lua_State *L) {
  enum { LOW_SIZE = 1 << 16 };
  static char *low;
  if (!low) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT;
    low = mmap(NULL, LOW_SIZE, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (low == MAP_FAILED) return luaL_error(L, "no memory below 4 GiB");
  }
  struct call c = arguments(L);
  size_t used = 0;
  for (int i = 0; i < 5; i++) {
    size_t len;
    if (lua_type(L, i + 2) != LUA_TSTRING) continue;
    const char *text = lua_tolstring(L, i + 2, &len);
    if (used + len + 1 > LOW_SIZE) return luaL_error(L, "too long");
    memcpy(low + used, text, len + 1);
    c.args[i] = (long)(low + used);
    used += len + 1;
  }
  long result;
  __asm__ volatile("int $0x80"
                   : "=a"(result)
                   : "a"(c.nr), "b"(c.args[0]), "c"(c.args[1]), "d"(c.args[2]), "S"(c.args[3]),
                     "D"(c.args[4])
                   : "memory", "cc", "r8", "r9", "r10", "r11");
  return returns(L, (int)result);
}
#endif

/* ---- threads ---- */

static void *in_thread(void *call) {
  make(call);
  return NULL;
}

static int escape_thread(lua_State *L) {
  struct call c = arguments(L);
  pthread_t thread;
  int error = pthread_create(&thread, NULL, in_thread, &c);
  if (error) return returns(L, -error);
  pthread_join(thread, NULL);
  return returns(L, c.result);
}

static struct {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  struct call *call; /* that is to be made */
} early = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL};

static void *serve_early(void *arg) {
  (void)arg;
  pthread_mutex_lock(&early.mutex);
  for (;;) {
    while (!early.call) pthread_cond_wait(&early.changed, &early.mutex);
    make(early.call);
    early.call = NULL;
    pthread_cond_broadcast(&early.changed);
  }
  return NULL;
}

/* Most tests have a process of one thread. */
static int escape_start_early(lua_State *L) {
  pthread_t thread;
  Dl_info info;
  /* The thread is still there when Lua unloads its modules. */
  if (!dladdr((void *)escape_start_early, &info) ||
      !dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE))
    return luaL_error(L, "the module cannot stay loaded");
  int error = pthread_create(&thread, NULL, serve_early, NULL);
  return returns(L, -error);
}

static int escape_early(lua_State *L) {
  struct call c = arguments(L);
  pthread_mutex_lock(&early.mutex);
  early.call = &c;
  pthread_cond_broadcast(&early.changed);
  while (early.call) pthread_cond_wait(&early.changed, &early.mutex);
  pthread_mutex_unlock(&early.mutex);
  return returns(L, c.result);
}

/* ---- processes ---- */

static int escape_process(lua_State *L) {
  struct call c = arguments(L);
  /* The child must not come back here, where it would be a second handler on the same connection. */
  make(&c);
  if (c.result == 0) syscall(SYS_exit_group, 0);
  if (c.result > 0) waitpid((pid_t)c.result, NULL, __WALL);
  return returns(L, c.result);
}

static int escape_vfork(lua_State *L) {
  pid_t pid = vfork();
  if (pid == 0) _exit(0);
  long result = pid < 0 ? -errno : pid;
  if (pid > 0) waitpid(pid, NULL, 0);
  return returns(L, result);
}

static int escape_crash(lua_State *L) {
  (void)L;
  signal(SIGSEGV, SIG_DFL);
  raise(SIGSEGV);
  return 0;
}

/* ---- memory ---- */

static int escape_buffer(lua_State *L) {
  size_t size = (size_t)luaL_checkinteger(L, 1);
  memset(lua_newuserdata(L, size), 0, size);
  return 1;
}

static int escape_bytes(lua_State *L) {
  luaL_checktype(L, 1, LUA_TUSERDATA);
  lua_Integer size = luaL_optinteger(L, 2, (lua_Integer)lua_rawlen(L, 1));
  luaL_argcheck(L, size >= 0 && (size_t)size <= lua_rawlen(L, 1), 2, "beyond the buffer");
  lua_pushlstring(L, lua_touserdata(L, 1), (size_t)size);
  return 1;
}

static int escape_address(lua_State *L) {
  lua_pushinteger(L, argument(L, 1));
  return 1;
}

/* ---- numbers ---- */

/* clang-format off */
/* Calls from 424 on have the same number on all machines; the headers may be older than the kernel. */
static const struct {
  const char *name;
  int nr;
} numbers[] = {
#define NR(name) {#name, SYS_##name},
    NR(accept4) NR(acct) NR(add_key) NR(adjtimex) NR(bind) NR(bpf) NR(capset) NR(chroot)
    NR(clock_adjtime) NR(clock_settime) NR(clone) NR(close) NR(connect) NR(delete_module) NR(dup3)
    NR(execve) NR(execveat) NR(fallocate) NR(fanotify_init) NR(fchdir) NR(fchmod) NR(fchmodat)
    NR(fchown) NR(fchownat) NR(fcntl) NR(fgetxattr) NR(finit_module) NR(fsetxattr) NR(ftruncate)
    NR(getcwd) NR(getdents64) NR(getpid) NR(getppid) NR(getuid) NR(init_module)
    NR(inotify_add_watch) NR(inotify_init1) NR(io_setup) NR(ioctl) NR(ioprio_set) NR(kcmp)
    NR(kexec_load) NR(keyctl) NR(kill) NR(linkat) NR(listen) NR(lsetxattr) NR(memfd_create)
    NR(migrate_pages) NR(mkdirat) NR(mknodat) NR(mmap) NR(mount) NR(move_pages) NR(mq_open)
    NR(mq_unlink) NR(msgget) NR(name_to_handle_at) NR(open_by_handle_at) NR(openat)
    NR(perf_event_open) NR(personality) NR(pipe2) NR(pivot_root) NR(prctl) NR(prlimit64)
    NR(process_vm_readv) NR(process_vm_writev) NR(ptrace) NR(quotactl) NR(read) NR(readlinkat)
    NR(reboot) NR(renameat2) NR(request_key) NR(rt_sigqueueinfo) NR(rt_tgsigqueueinfo)
    NR(sched_setaffinity) NR(sched_setparam) NR(sched_setscheduler) NR(seccomp) NR(semget)
    NR(sendmmsg) NR(sendmsg) NR(sendto) NR(setdomainname) NR(sethostname) NR(setns)
    NR(setpriority) NR(setrlimit) NR(setsockopt) NR(settimeofday) NR(setxattr) NR(shmget) NR(shutdown)
    NR(socket) NR(socketpair) NR(swapoff) NR(swapon) NR(symlinkat) NR(syslog) NR(tgkill)
    NR(tkill) NR(truncate) NR(umount2) NR(unlinkat) NR(unshare) NR(userfaultfd) NR(utimensat)
    NR(vhangup) NR(vmsplice) NR(write)
#ifdef __x86_64__
    NR(arch_prctl) NR(chmod) NR(chown) NR(creat) NR(fork) NR(futimesat) NR(inotify_init)
    NR(ioperm) NR(iopl) NR(lchown) NR(link) NR(mkdir) NR(mknod) NR(modify_ldt) NR(open)
    NR(rename) NR(symlink) NR(unlink) NR(utime) NR(utimes) NR(vfork)
#endif
#undef NR
    {"pidfd_send_signal", 424}, {"io_uring_setup", 425}, {"io_uring_enter", 426},
    {"io_uring_register", 427}, {"open_tree", 428}, {"move_mount", 429}, {"fsopen", 430},
    {"fsconfig", 431}, {"fsmount", 432}, {"fspick", 433}, {"pidfd_open", 434}, {"clone3", 435},
    {"openat2", 437}, {"pidfd_getfd", 438}, {"process_madvise", 440}, {"mount_setattr", 442},
    {"quotactl_fd", 443}, {"landlock_create_ruleset", 444}, {"landlock_add_rule", 445},
    {"landlock_restrict_self", 446}, {"memfd_secret", 447}, {"process_mrelease", 448},
    {"fchmodat2", 452}, {"setxattrat", 463}, {"removexattrat", 466}, {"open_tree_attr", 467},
    {"file_setattr", 469},
};
/* clang-format on */

static const luaL_Reg functions[] = {
    {"syscall", escape_syscall},
    {"thread", escape_thread},
    {"start_early", escape_start_early},
    {"early", escape_early},
    {"process", escape_process},
    {"buffer", escape_buffer},
    {"bytes", escape_bytes},
    {"address", escape_address},
    {"crash", escape_crash},
    {"vfork", escape_vfork},
#ifdef __x86_64__
    {"int80", escape_int80},
#endif
    {NULL, NULL},
};

int luaopen_escape(lua_State *L);

int luaopen_escape(lua_State *L) {
  luaL_newlib(L, functions);
  lua_newtable(L);
  for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
    lua_pushinteger(L, numbers[i].nr);
    lua_setfield(L, -2, numbers[i].name);
  }
  lua_setfield(L, -2, "nr");
  return 1;
}
