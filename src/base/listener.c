/* Listening sockets. Knows neither Lua nor the log. */
#include "base/listener.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/rare.h"
#include "base/refused.h"

/* A client may vanish between poll and accept, so the socket has O_NONBLOCK also when we wait. */
static int open_socket(int family) {
  int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  return fd < 0 ? -errno : fd;
}

static const struct mb_listener_options none;

static bool set_on(int fd, int level, int name, bool on) {
  int value = 1;
  return !on || setsockopt(fd, level, name, &value, sizeof value) == 0;
}

static int bind_tcp(int fd, const struct addrinfo *address, const struct mb_listener_options *o) {
  /* Without SO_REUSEADDR bind fails while connections of an earlier listener are still ending. */
  int v6only = 0;
  if (o->both && address->ai_family == AF_INET6)
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only);
  if (!set_on(fd, SOL_SOCKET, SO_REUSEADDR, !o->no_reuseaddr) ||
      !set_on(fd, SOL_SOCKET, SO_REUSEPORT, o->reuseport) ||
      !set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY, o->v6only && address->ai_family == AF_INET6) ||
      MB_RARE(bind)(fd, address->ai_addr, address->ai_addrlen) != 0 ||
      MB_RARE(listen)(fd, SOMAXCONN) != 0)
    return -errno;
  return 0;
}

int mb_listener_tcp(const struct addrinfo *addresses, const struct mb_listener_options *options) {
  const struct mb_listener_options *o = options ? options : &none;
  int r = o->family ? -EAFNOSUPPORT : -EADDRNOTAVAIL;
  for (const struct addrinfo *a = addresses; a; a = a->ai_next) {
    if (o->family && a->ai_family != o->family) continue;
    int fd = open_socket(a->ai_family);
    r = fd < 0 ? fd : bind_tcp(fd, a, o);
    if (r == 0) return fd;
    if (fd >= 0) close(fd);
    mb_refused(-r, MB_REFUSED_LISTEN, NULL, 0);
  }
  return r;
}

/* Removes the file that is in the way, if it is a socket, or `any` kind but a directory. Returns 0 or -errno. */
static int remove_file(const struct mb_addr *addr, bool any) {
  char path[sizeof addr->local.sun_path + 1];
  struct stat st;
  if (mb_addr_path(addr, path) == 0 || path[0] == '@') return -EADDRINUSE;
  if (MB_RARE_LARGE(lstat)(path, &st) != 0)
    return errno == ENOENT ? 0 : -errno; /* gone meanwhile */
  if (!S_ISSOCK(st.st_mode) && (!any || S_ISDIR(st.st_mode))) return -EEXIST;
  return unlink(path) == 0 || errno == ENOENT ? 0 : -errno;
}

/*
 * Makes the socket file. It is never open to more users than it is meant for: where a mode is given,
 * the umask keeps everybody out until chmod, which comes before listen.
 */
static int bind_file(int fd, const struct mb_addr *addr, const struct mb_listener_options *o) {
  char path[sizeof addr->local.sun_path + 1];
  int mask = o->mode ? 0777 : o->mask;
  mode_t before = mask ? MB_RARE(umask)((mode_t)mask) : 0;
  int r = MB_RARE(bind)(fd, &addr->any, addr->len) == 0 ? 0 : -errno;
  if (mask) MB_RARE(umask)(before);
  if (r < 0 || !o->mode || mb_addr_path(addr, path) == 0 || path[0] == '@') return r;
  return MB_RARE(chmod)(path, (mode_t)o->mode) == 0 ? 0 : -errno;
}

static int bind_local(int fd, const struct mb_addr *addr, const struct mb_listener_options *o) {
  int r = bind_file(fd, addr, o);
  if (r == -EADDRINUSE && !o->keep_file) {
    r = remove_file(addr, o->any_file);
    if (r == 0) r = bind_file(fd, addr, o);
  }
  if (r < 0) return r;
  return MB_RARE(listen)(fd, SOMAXCONN) == 0 ? 0 : -errno;
}

int mb_listener_local(const struct mb_addr *addr, const struct mb_listener_options *options) {
  int fd = open_socket(AF_UNIX);
  int r = fd < 0 ? fd : bind_local(fd, addr, options ? options : &none);
  if (r == 0) return fd;
  if (fd >= 0) close(fd);
  mb_refused(-r, MB_REFUSED_LISTEN, NULL, 0);
  return r;
}

bool mb_listener_answers(const struct mb_addr *addr) {
  int fd = open_socket(AF_UNIX);
  if (fd < 0) return false;
  /* Any other failure is one of somebody who is there: of another kind, of another user, or without time. */
  bool answers =
      connect(fd, &addr->any, addr->len) == 0 || (errno != ECONNREFUSED && errno != ENOENT);
  close(fd);
  return answers;
}

/* Returns whether an errno of accept(2) is about a lost connection or its network, not about us. */
static bool is_of_the_client(int error) {
  switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
      return true;
    default:
      return false;
  }
}

int mb_listener_accept(int fd, bool wait, struct mb_addr *ret_remote) {
  for (;;) {
    struct mb_addr remote = {.len = sizeof remote.storage};
    int connection = accept4(fd, &remote.any, &remote.len, SOCK_CLOEXEC);
    if (connection >= 0) {
      *ret_remote = remote;
      return connection;
    }
    if (is_of_the_client(errno)) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return -errno;
    if (!wait) return -EAGAIN;
    int r = mb_fd_poll(fd, POLLIN, MB_NO_DEADLINE);
    if (r < 0) return r;
  }
}

/*
 * shutdown(2) alone would reset who waits in a TCP socket. So the socket first gets a filter that passes all but the
 * beginning of a connection: a segment with SYN and without ACK. A kernel without filters loses what comes between the
 * last accept and the end.
 */
static void refuse_beginnings(int fd) {
  enum { FLAGS_AT = 13 /* in the TCP header, where a filter begins to count */ };
  static struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS_AT),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TH_SYN | TH_ACK),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TH_SYN, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
  };
  const struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
  setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

void mb_listener_stop(int fd) {
  int family = AF_UNSPEC;
  socklen_t len = sizeof family;
  getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len);
  if (family == AF_UNIX) {
    shutdown(fd, SHUT_RD);
  } else {
    refuse_beginnings(fd);
  }
}

void mb_listener_end(int fd) { shutdown(fd, SHUT_RDWR); }
