/*
 * LD_PRELOAD shim: lets system calls of the program fail, or do less than they were asked for.
 * FAULTIO=RULE[;RULE]...  sets the rules, from the start of main on
 * FAULTIO_HIT=FILE        creates the file at the first fault that the first rule makes
 * FAULTIO_SIGNALS=USEC    sends a signal every so many microseconds; its handler does nothing
 *
 * A rule is CALL[,CALL]... FAULT WHEN [fd=NUMBER]
 * CALL   a name of CALLS or OTHER_CALLS, or of a group
 * FAULT  the name of an errno; or short, with max=N: the call moves N bytes at most
 *        or late: the call comes 50 ms later, and does what it was asked for
 * WHEN   once=N   the Nth call only
 *        from=N   the Nth and all later ones
 *        storm=N  all except one of N; nobody can foresee which one, or a loop of calls could starve
 *        max=N    with short
 *
 * A script that opens /faultio/RULE[;RULE]... replaces the rules. It can read there how many faults there
 * were under the old rules, and how many calls these were for. It can read the numbers of the open
 * descriptors from /faultio?descriptors.
 *
 * A program that is executed has no shim. vfork is fork here: see there.
 */
#undef _FORTIFY_SOURCE /* its inline functions have the names of ours */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <unistd.h>

/* clang-format off */

/* Each of these is a function of libc. A function of the same name in this file comes before it. */
#define CALLS(X)                                                                               \
  X(accept4) X(bind) X(close) X(connect) X(dup2) X(dup3) X(fcntl) X(fork) X(getpeername)       \
  X(getsockname) X(getsockopt) X(kill) X(listen) X(lstat) X(open) X(pipe2) X(poll) X(ppoll)    \
  X(pread) X(read) X(recv) X(send) X(sendfile) X(sendmsg) X(setsockopt) X(shutdown) X(socket)  \
  X(unlink) X(vfork) X(waitid) X(waitpid) X(write) X(writev)

/*
 * Uses of a call that have a name of their own: fcntl that makes a descriptor, connect that undoes a
 * connect, waitpid with WNOHANG.
 */
#define OTHER_CALLS(X) X(dupfd) X(disconnect) X(waitpid_nb)

/* clang-format on */

#define ENUMERATOR(name) CALL_##name,
enum call { CALLS(ENUMERATOR) OTHER_CALLS(ENUMERATOR) CALL_COUNT };
#define NAME(name) #name,
static const char *const call_names[] = {CALLS(NAME) OTHER_CALLS(NAME)};

#define BIT(name)    (UINT64_C(1) << CALL_##name)
#define BIT_OR(name) BIT(name) |

static const struct {
  const char *name;
  uint64_t calls;
} groups[] = {
    /* A signal can interrupt these. */
    {"interruptible", BIT(accept4) | BIT(close) | BIT(connect) | BIT(poll) | BIT(ppoll) |
                          BIT(pread) | BIT(read) | BIT(recv) | BIT(sendfile) | BIT(sendmsg) |
                          BIT(waitpid) | BIT(write) | BIT(writev)},
    /* These make a descriptor. */
    {"making", BIT(accept4) | BIT(dupfd) | BIT(open) | BIT(pipe2) | BIT(socket)},
    {"moving", BIT(pread) | BIT(read) | BIT(recv) | BIT(send) | BIT(sendfile) | BIT(sendmsg) |
                   BIT(write) | BIT(writev)},
    /* These may fail for any reason. Waiting for a child fails only when there is no such child. */
    {"any",
     (CALLS(BIT_OR) OTHER_CALLS(BIT_OR) 0) & ~(BIT(waitid) | BIT(waitpid) | BIT(waitpid_nb))},
};

static const struct {
  const char *name;
  int number;
} errnos[] = {
#define ERRNO(name) \
  { #name, name }
    ERRNO(EADDRINUSE),   ERRNO(EAGAIN),       ERRNO(EBUSY),       ERRNO(ECHILD),
    ERRNO(ECONNABORTED), ERRNO(ECONNREFUSED), ERRNO(ECONNRESET),  ERRNO(EHOSTDOWN),
    ERRNO(EHOSTUNREACH), ERRNO(EINTR),        ERRNO(EINVAL),      ERRNO(EIO),
    ERRNO(EMFILE),       ERRNO(ENETDOWN),     ERRNO(ENETUNREACH), ERRNO(ENFILE),
    ERRNO(ENOBUFS),      ERRNO(ENOMEM),       ERRNO(ENONET),      ERRNO(ENOPROTOOPT),
    ERRNO(ENOSPC),       ERRNO(ENOSYS),       ERRNO(ENOTCONN),    ERRNO(EOPNOTSUPP),
    ERRNO(EPERM),        ERRNO(EPIPE),        ERRNO(EPROTO),      ERRNO(ETIMEDOUT),
};

enum { SHORT = -1, LATE = -2 }; /* in place of an errno */

#define LATE_USEC 50000

#define DESCRIPTORS_MAX 512 /* how many numbers are looked at */

#define REAL(name) static __typeof__(name) *real_##name;
CALLS(REAL)
static __typeof__(getaddrinfo) *real_getaddrinfo;
static FILE *(*real_fopen)(const char *, const char *);

struct rule {
  uint64_t calls;
  int error; /* or SHORT, or LATE */
  enum { ONCE, FROM, STORM, MAX } when;
  unsigned long n;
  int fd; /* -1: any */
};

#define RULES_MAX 8

struct counts {
  unsigned long calls[RULES_MAX]; /* how many calls each rule was for */
  unsigned long hits;             /* faults that all rules together have made */
  bool first_has_hit;
};

/* Children share this memory until they become another program, as their calls count, too. */
static struct counts *counts;

static struct rule rules[RULES_MAX];
static int rule_count;
static const char *hit_file;

/* ---- rules ---- */

static void __attribute__((noreturn)) wrong(const char *what, const char *text) {
  fprintf(stderr, "faultio: %s: %s\n", what, text);
  abort();
}

static uint64_t parse_call(const char *name) {
  for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
    if (strcmp(groups[i].name, name) == 0) return groups[i].calls;
  }
  for (int i = 0; i < CALL_COUNT; i++) {
    if (strcmp(call_names[i], name) == 0) return UINT64_C(1) << i;
  }
  wrong("no such call", name);
}

static int parse_fault(const char *name) {
  if (strcmp(name, "short") == 0) return SHORT;
  if (strcmp(name, "late") == 0) return LATE;
  for (size_t i = 0; i < sizeof errnos / sizeof *errnos; i++) {
    if (strcmp(errnos[i].name, name) == 0) return errnos[i].number;
  }
  wrong("no such fault", name);
}

static void parse_rule(char *text, struct rule *rule) {
  static const char *const whens[] = {"once", "from", "storm", "max"};
  char names[128], fault[32], when[32];
  *rule = (struct rule){.fd = -1};
  int end = 0;
  if (sscanf(text, " %127s %31s %31[a-z]=%lu fd=%d %n", names, fault, when, &rule->n, &rule->fd,
             &end) != 5 &&
      (sscanf(text, " %127s %31s %31[a-z]=%lu %n", names, fault, when, &rule->n, &end) != 4)) {
    wrong("no rule", text);
  }
  if (text[end] != '\0' || rule->n == 0) wrong("no rule", text);
  char *rest = names;
  for (char *name; (name = strsep(&rest, ","));) rule->calls |= parse_call(name);
  rule->error = parse_fault(fault);
  unsigned at = 0;
  while (at <= MAX && strcmp(whens[at], when) != 0) at++;
  if (at > MAX || (at == MAX) != (rule->error == SHORT)) wrong("no rule", text);
  rule->when = at;
}

static void set_rules(const char *text) {
  char copy[1024];
  if (strlen(text) >= sizeof copy) wrong("too long", text);
  strcpy(copy, text);
  rule_count = 0;
  memset(counts, 0, sizeof *counts);
  char *rest = copy;
  for (char *rule; (rule = strsep(&rest, ";"));) {
    if (rule[strspn(rule, " ")] == '\0') continue;
    if (rule_count == RULES_MAX) wrong("too many rules", text);
    parse_rule(rule, &rules[rule_count]);
    rule_count++;
  }
}

/* Returns whether this call has to fail. No pattern of calls can be in step with it; each run is the same. */
static bool strikes(unsigned long call, unsigned long n) {
  uint64_t mixed = (call + 1) * UINT64_C(0x9e3779b97f4a7c15);
  mixed = (mixed ^ mixed >> 31) * UINT64_C(0xbf58476d1ce4e5b9);
  return (mixed >> 40) % n != 0;
}

static bool applies(const struct rule *rule, unsigned long call) {
  switch (rule->when) {
    case ONCE:
      return call == rule->n;
    case FROM:
      return call >= rule->n;
    case STORM:
      return strikes(call, rule->n);
    case MAX:
      return true;
  }
  return false;
}

static void count_hit(const struct rule *rule) {
  __atomic_add_fetch(&counts->hits, 1, __ATOMIC_RELAXED);
  if (rule != rules || !hit_file) return;
  if (__atomic_exchange_n(&counts->first_has_hit, true, __ATOMIC_RELAXED)) return;
  int fd = real_open(hit_file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) wrong("cannot create", hit_file);
  real_close(fd);
}

static bool is_for(const struct rule *rule, enum call call, int fd) {
  return rule->calls >> call & 1 && (rule->fd < 0 || rule->fd == fd);
}

/*
 * Returns whether the call moves a number through a pipe, as a new child does to its parent. The number
 * comes whole (pipe(7), PIPE_BUF), and only a signal can interrupt that.
 */
static bool is_number(enum call call, size_t len) {
  return (call == CALL_read || call == CALL_write) && len == sizeof(int);
}

/* Returns whether the call is spared: a number in a pipe, and the log on 2, of which nothing may be lost. */
static bool is_spared(enum call call, int fd, size_t len, int error) {
  if (error == EINTR) return false;
  return is_number(call, len) || (call == CALL_write && fd == STDERR_FILENO);
}

/* Returns whether the call, for len bytes, has to fail. Sets errno then. */
static bool fails_to_move(enum call call, int fd, size_t len) {
  for (int i = 0; i < rule_count; i++) {
    const struct rule *rule = &rules[i];
    if (rule->when == MAX || !is_for(rule, call, fd)) continue;
    if (is_spared(call, fd, len, rule->error)) continue;
    if (!applies(rule, __atomic_add_fetch(&counts->calls[i], 1, __ATOMIC_RELAXED))) continue;
    count_hit(rule);
    if (rule->error == LATE) {
      usleep(LATE_USEC);
      continue;
    }
    errno = rule->error;
    return true;
  }
  return false;
}

static bool fails(enum call call, int fd) { return fails_to_move(call, fd, 0); }

/* Returns how many bytes the call may move. */
static size_t at_most(enum call call, int fd, size_t len) {
  if (is_number(call, len)) return len;
  for (int i = 0; i < rule_count; i++) {
    const struct rule *rule = &rules[i];
    if (rule->when != MAX || !is_for(rule, call, fd) || rule->n >= len) continue;
    __atomic_add_fetch(&counts->calls[i], 1, __ATOMIC_RELAXED);
    count_hit(rule);
    len = rule->n;
  }
  return len;
}

/* ---- start ---- */

static void start_signals(const char *text);

__attribute__((constructor)) static void start(void) {
  if (counts) return; /* see ready */
#define RESOLVE(name) *(void **)&real_##name = dlsym(RTLD_NEXT, #name);
  CALLS(RESOLVE)
  RESOLVE(getaddrinfo)
  *(void **)&real_fopen = dlsym(RTLD_NEXT, "fopen64");
  counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (counts == MAP_FAILED) wrong("mmap", strerror(errno));
  const char *text = getenv("FAULTIO"), *signals = getenv("FAULTIO_SIGNALS");
  hit_file = getenv("FAULTIO_HIT");
  if (text) set_rules(text);
  unsetenv("LD_PRELOAD");
  if (signals) start_signals(signals);
}

/* Starts the shim when a function is called before our constructor has run. */
static void ready(void) {
  if (!counts) start();
}

static void ignore(int signal_number) { (void)signal_number; }

/*
 * Does not use setitimer, as timeout() needs its alarm; nor SA_RESTART, as that would let few calls be
 * interrupted.
 */
static void start_signals(const char *text) {
  const struct sigaction action = {.sa_handler = ignore};
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
  const struct timespec every = {.tv_nsec = strtol(text, NULL, 10) * 1000};
  const struct itimerspec setting = {.it_interval = every, .it_value = every};
  timer_t timer;
  sigaction(SIGUSR2, &action, NULL);
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 ||
      timer_settime(timer, 0, &setting, NULL) != 0)
    wrong("timer", strerror(errno));
}

/* ---- the files for a script ---- */

static FILE *answer(const char *text) {
  FILE *file = fmemopen(NULL, strlen(text) + 1, "w+");
  if (!file) wrong("fmemopen", strerror(errno));
  fputs(text, file);
  rewind(file);
  return file;
}

/* Returns whether a descriptor is one of epoll(7). */
static bool is_epoll(int fd) {
  static const char want[] = "anon_inode:[eventpoll]";
  char name[64], path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(path, name, sizeof name);
  return n == (ssize_t)sizeof want - 1 && memcmp(name, want, sizeof want - 1) == 0;
}

/*
 * Lists the open descriptors without opening one, as none may be free. Leaves out the one that the connection
 * itself may have, when it is a Unix socket: to wait for what comes behind a byte that it keeps.
 */
static FILE *list_descriptors(void) {
  char text[4096];
  size_t at = 0;
  bool of_connection = false;
  text[0] = '\0';
  for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
    if (real_fcntl(fd, F_GETFD) < 0) continue;
    if (!of_connection && is_epoll(fd)) {
      of_connection = true;
      continue;
    }
    at += (size_t)snprintf(text + at, sizeof text - at, "%s%d", at ? " " : "", fd);
  }
  return answer(text);
}

static FILE *open_command(const char *path) {
  char text[64];
  if (strcmp(path, "/faultio?descriptors") == 0) return list_descriptors();
  if (strncmp(path, "/faultio/", 9) != 0) wrong("no such command", path);
  unsigned long calls = 0;
  for (int i = 0; i < rule_count; i++) calls += counts->calls[i];
  snprintf(text, sizeof text, "%lu %lu", counts->hits, calls);
  set_rules(path + 9);
  return answer(text);
}

FILE *fopen64(const char *path, const char *mode) {
  ready();
  return strncmp(path, "/faultio", 8) == 0 ? open_command(path) : real_fopen(path, mode);
}

FILE *fopen(const char *path, const char *mode) { return fopen64(path, mode); }

/* ---- the calls ---- */

int accept4(int fd, __SOCKADDR_ARG addr, socklen_t *len, int flags) {
  ready();
  return fails(CALL_accept4, fd) ? -1 : real_accept4(fd, addr, len, flags);
}

int bind(int fd, __CONST_SOCKADDR_ARG addr, socklen_t len) {
  ready();
  return fails(CALL_bind, fd) ? -1 : real_bind(fd, addr, len);
}

/* Closes the descriptor also when it reports an error, as Linux does. */
int close(int fd) {
  ready();
  bool failed = fails(CALL_close, fd);
  int error = errno;
  int r = real_close(fd);
  if (failed) errno = error;
  return failed ? -1 : r;
}

int connect(int fd, __CONST_SOCKADDR_ARG addr, socklen_t len) {
  ready();
  int family = addr.__sockaddr__->sa_family;
  if (!fails(family == AF_UNSPEC ? CALL_disconnect : CALL_connect, fd)) {
    return real_connect(fd, addr, len);
  }
  if (errno != EINTR || family == AF_UNIX || family == AF_UNSPEC) return -1;
  /* TCP goes on connecting after a signal. */
  int r = real_connect(fd, addr, len);
  if (r < 0 && errno == EINPROGRESS) errno = EINTR;
  return r;
}

int dup2(int old, int new) {
  ready();
  return fails(CALL_dup2, old) ? -1 : real_dup2(old, new);
}

int dup3(int old, int new, int flags) {
  ready();
  return fails(CALL_dup3, old) ? -1 : real_dup3(old, new, flags);
}

int fcntl(int fd, int command, ...) {
  ready();
  va_list args;
  va_start(args, command);
  void *argument = va_arg(args, void *);
  va_end(args);
  bool makes = command == F_DUPFD || command == F_DUPFD_CLOEXEC;
  return fails(makes ? CALL_dupfd : CALL_fcntl, fd) ? -1 : real_fcntl(fd, command, argument);
}

int getpeername(int fd, __SOCKADDR_ARG addr, socklen_t *len) {
  ready();
  return fails(CALL_getpeername, fd) ? -1 : real_getpeername(fd, addr, len);
}

int getsockname(int fd, __SOCKADDR_ARG addr, socklen_t *len) {
  ready();
  return fails(CALL_getsockname, fd) ? -1 : real_getsockname(fd, addr, len);
}

int getsockopt(int fd, int level, int option, void *value, socklen_t *len) {
  ready();
  return fails(CALL_getsockopt, fd) ? -1 : real_getsockopt(fd, level, option, value, len);
}

int kill(pid_t pid, int signal_number) {
  ready();
  return fails(CALL_kill, -1) ? -1 : real_kill(pid, signal_number);
}

int listen(int fd, int backlog) {
  ready();
  return fails(CALL_listen, fd) ? -1 : real_listen(fd, backlog);
}

int lstat(const char *path, struct stat *st) {
  ready();
  return fails(CALL_lstat, -1) ? -1 : real_lstat(path, st);
}

int open(const char *path, int flags, ...) {
  ready();
  va_list args;
  va_start(args, flags);
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
  va_end(args);
  return fails(CALL_open, -1) ? -1 : real_open(path, flags, mode);
}

int pipe2(int ends[2], int flags) {
  ready();
  return fails(CALL_pipe2, -1) ? -1 : real_pipe2(ends, flags);
}

int poll(struct pollfd *fds, nfds_t count, int timeout) {
  ready();
  return fails(CALL_poll, count ? fds[0].fd : -1) ? -1 : real_poll(fds, count, timeout);
}

int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
  ready();
  return fails(CALL_ppoll, -1) ? -1 : real_ppoll(fds, count, timeout, mask);
}

ssize_t pread(int fd, void *data, size_t len, off_t offset) {
  ready();
  if (fails(CALL_pread, fd)) return -1;
  return real_pread(fd, data, at_most(CALL_pread, fd, len), offset);
}

ssize_t read(int fd, void *data, size_t len) {
  ready();
  return fails_to_move(CALL_read, fd, len) ? -1 : real_read(fd, data, at_most(CALL_read, fd, len));
}

ssize_t recv(int fd, void *data, size_t len, int flags) {
  ready();
  return fails(CALL_recv, fd) ? -1 : real_recv(fd, data, at_most(CALL_recv, fd, len), flags);
}

ssize_t send(int fd, const void *data, size_t len, int flags) {
  ready();
  return fails(CALL_send, fd) ? -1 : real_send(fd, data, at_most(CALL_send, fd, len), flags);
}

/* The fd= of a rule means the socket. */
ssize_t sendfile(int to, int from, off_t *offset, size_t len) {
  ready();
  if (fails(CALL_sendfile, to)) return -1;
  return real_sendfile(to, from, offset, at_most(CALL_sendfile, to, len));
}

#define PIECES_MAX 1024 /* Linux's IOV_MAX */

/* Copies the pieces that the call may move. Returns how many. */
static int cut(enum call call, int fd, const struct iovec *pieces, int count, struct iovec *ret) {
  size_t total = 0;
  for (int i = 0; i < count; i++) total += pieces[i].iov_len;
  size_t left = at_most(call, fd, total);
  int n = 0;
  while (n < count && (left > 0 || total == 0)) {
    ret[n] = pieces[n];
    if (ret[n].iov_len > left) ret[n].iov_len = left;
    left -= ret[n].iov_len;
    n++;
  }
  return n;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  ready();
  if (fails(CALL_sendmsg, fd)) return -1;
  struct iovec pieces[PIECES_MAX];
  struct msghdr shorter = *message;
  shorter.msg_iov = pieces;
  shorter.msg_iovlen =
      (size_t)cut(CALL_sendmsg, fd, message->msg_iov, (int)message->msg_iovlen, pieces);
  return real_sendmsg(fd, &shorter, flags);
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t len) {
  ready();
  return fails(CALL_setsockopt, fd) ? -1 : real_setsockopt(fd, level, option, value, len);
}

int shutdown(int fd, int how) {
  ready();
  return fails(CALL_shutdown, fd) ? -1 : real_shutdown(fd, how);
}

int socket(int domain, int type, int protocol) {
  ready();
  return fails(CALL_socket, -1) ? -1 : real_socket(domain, type, protocol);
}

int unlink(const char *path) {
  ready();
  return fails(CALL_unlink, -1) ? -1 : real_unlink(path);
}

pid_t fork(void) {
  ready();
  return fails(CALL_fork, -1) ? -1 : real_fork();
}

/* This is fork: a function in front of vfork would return twice, the second time to a frame that is gone. */
pid_t vfork(void) {
  ready();
  return fails(CALL_vfork, -1) ? -1 : real_fork();
}

int waitid(idtype_t type, id_t id, siginfo_t *info, int options) {
  ready();
  return fails(CALL_waitid, -1) ? -1 : real_waitid(type, id, info, options);
}

pid_t waitpid(pid_t pid, int *status, int options) {
  ready();
  enum call call = options & WNOHANG ? CALL_waitpid_nb : CALL_waitpid;
  return fails(call, -1) ? -1 : real_waitpid(pid, status, options);
}

ssize_t write(int fd, const void *data, size_t len) {
  ready();
  return fails_to_move(CALL_write, fd, len) ? -1
                                            : real_write(fd, data, at_most(CALL_write, fd, len));
}

ssize_t writev(int fd, const struct iovec *pieces, int count) {
  ready();
  if (fails(CALL_writev, fd)) return -1;
  struct iovec shorter[PIECES_MAX];
  return real_writev(fd, shorter, cut(CALL_writev, fd, pieces, count, shorter));
}

/* A host "ADDRESS,ADDRESS" has both addresses, in this order. glibc's freeaddrinfo(3) frees such a list. */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret) {
  ready();
  const char *comma = host ? strchr(host, ',') : NULL;
  if (!comma) return real_getaddrinfo(host, service, hints, ret);
  char first[64];
  struct addrinfo *list;
  snprintf(first, sizeof first, "%.*s", (int)(comma - host), host);
  int code = real_getaddrinfo(first, service, hints, &list);
  if (code != 0) return code;
  struct addrinfo *last = list;
  while (last->ai_next) last = last->ai_next;
  code = getaddrinfo(comma + 1, service, hints, &last->ai_next);
  if (code != 0) {
    freeaddrinfo(list);
    return code;
  }
  *ret = list;
  return 0;
}
