/* Opens connections. Knows neither Lua nor the log. */
#include "base/connect.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/rare.h"
#include "base/refused.h"

/*
 * A lookup fails without free descriptors, as it cannot open the files and sockets that know the
 * name. getaddrinfo then says that the name is unknown, or what a name service module left in errno.
 * Returns EAI_SYSTEM with the true errno in that case, and the code in any other.
 */
static int true_failure(int code) {
  if (code == 0) return code;
  int number = errno;
  int spare = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
  if (spare < 0 && errno == EMFILE) return EAI_SYSTEM;
  if (spare >= 0) close(spare);
  errno = number;
  return code;
}

int mb_resolve(const char *host, const char *port, bool passive, struct addrinfo **ret) {
  /* Not AI_ADDRCONFIG: it hides loopback addresses on hosts that have no others of their family. */
  struct addrinfo hints = {
      .ai_flags = passive ? AI_PASSIVE : 0,
      .ai_family = AF_UNSPEC,
      .ai_socktype = SOCK_STREAM,
  };
  struct mb_addr addr;
  int r = mb_addr_from_text(host, -1, &addr);
  if (r == -EBADMSG) return EAI_NONAME; /* no name server is asked for a name with a "%" */
  if (r < 0 && r != -EINVAL) {
    errno = -r;
    return EAI_SYSTEM;
  }
  if (r == 0) hints.ai_flags |= AI_NUMERICHOST;
  int code = MB_RARE(getaddrinfo)(host, port, &hints, ret);
  /* A resolver that may ask nobody says no more than that it failed. */
  if (code != 0 && r != 0) mb_refused(EPERM, MB_REFUSED_NAMES, host, 0);
  return r == 0 ? code : true_failure(code);
}

struct mb_attempt *mb_attempt_new(struct mb_alloc *alloc, const char *target) {
  size_t size = sizeof(struct mb_attempt) + strlen(target) + 1;
  struct mb_attempt *a = mb_alloc(alloc, NULL, 0, size);
  if (!a) return NULL;
  a->addresses = NULL;
  a->at = NULL;
  a->lost = 0;
  a->size = size;
  strcpy(a->target, target);
  return a;
}

void mb_attempt_set_addresses(struct mb_attempt *a, struct addrinfo *addresses) {
  a->addresses = addresses;
  a->at = addresses;
}

void mb_attempt_free(struct mb_attempt *a, struct mb_alloc *alloc) {
  if (!a) return;
  if (a->addresses) MB_RARE(freeaddrinfo)(a->addresses);
  mb_alloc(alloc, a, a->size, 0);
}

/* Begins to connect to one address. Returns a descriptor, connected or not yet; or -errno. */
static int try_one(const struct addrinfo *address) {
  int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
  if (fd < 0) return -errno;
  mb_fd_set_reset_on_close(fd, MB_FD_TCP, true);
  if (connect(fd, address->ai_addr, address->ai_addrlen) == 0) return fd;
  /* A connect that a signal interrupts goes on by itself. */
  if (errno == EINPROGRESS || errno == EINTR) return fd;
  int r = errno == EAGAIN ? -EADDRNOTAVAIL : -errno; /* to our callers EAGAIN is "undecided" */
  close(fd);
  return r;
}

/* Does the same, and tells of a refusal. */
static int begin(const struct addrinfo *address) {
  int fd = try_one(address);
  if (fd < 0) mb_refused_address(-fd, address);
  return fd;
}

/* Returns whether this machine lacks something: another address would fail too. */
static bool is_shortage(int r) {
  return r == -EMFILE || r == -ENFILE || r == -ENOBUFS || r == -ENOMEM;
}

int mb_attempt_start(struct mb_attempt *a) {
  for (;;) {
    int fd = begin(a->at);
    if (fd >= 0 || !a->at->ai_next || is_shortage(fd)) return fd;
    a->at = a->at->ai_next;
  }
}

/*
 * Starts the next attempt under the number of the last one's descriptor, which it closes first: one
 * free descriptor is enough. Returns 0, or -errno with *fd closed.
 */
static int start_next(struct mb_attempt *a, int *fd) {
  int number = *fd;
  close(number);
  *fd = -1;
  a->at = a->at->ai_next;
  int next = mb_attempt_start(a);
  if (next < 0) return next;
  if (next != number) {
    int r;
    do {
      r = dup3(next, number, O_CLOEXEC) < 0 ? -errno : 0;
    } while (r == -EINTR);
    close(next);
    if (r < 0) return r;
  }
  *fd = number;
  return 0;
}

/*
 * A connection to a port of this host on which nobody listens can get that very port, and so be
 * connected to itself.
 */
static bool is_to_itself(const struct mb_addr *local, const struct mb_addr *remote) {
  return local->len == remote->len && memcmp(&local->any, &remote->any, local->len) == 0;
}

/* SO_ERROR has these for a connection that was made and lost; for a refused one it has another. */
static bool is_loss(int error) { return error == ECONNRESET || error == EPIPE; }

/* Returns 0 when connected, -EAGAIN when undecided, or -errno of this one address. */
static int outcome(struct mb_attempt *a, int fd, bool wait, struct mb_addr *ret_local,
                   struct mb_addr *ret_remote) {
  int r = mb_fd_poll(fd, POLLOUT, wait ? MB_NO_DEADLINE : 0);
  if (r < 0) return r;
  if (r == 0) return -EAGAIN;
  int error = 0;
  socklen_t len = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) return -errno;
  if (error && !is_loss(error)) return -error;
  a->lost = error; /* data that the peer sent before can still be read */
  r = mb_addr_of(fd, ret_local, ret_remote);
  if (r == -ENOTCONN) { /* the connection is lost */
    memcpy(&ret_remote->any, a->at->ai_addr, a->at->ai_addrlen);
    ret_remote->len = a->at->ai_addrlen;
    return 0;
  }
  if (r == 0 && is_to_itself(ret_local, ret_remote)) return -ECONNREFUSED;
  return r;
}

int mb_attempt_go_on(struct mb_attempt *a, int *fd, bool wait, struct mb_addr *ret_local,
                     struct mb_addr *ret_remote) {
  struct mb_addr local = {.len = 0}, remote = {.len = 0};
  for (;;) {
    int r = outcome(a, *fd, wait, &local, &remote);
    if (r == 0) {
      r = mb_fd_set_nonblocking(*fd, false); /* from now on waiting costs one call, not three */
      if (r < 0) return r;
      *ret_local = local;
      *ret_remote = remote;
      return 0;
    }
    if (r == -EAGAIN || !a->at->ai_next) return r;
    r = start_next(a, fd);
    if (r < 0) return r;
  }
}

void mb_attempt_describe(const struct mb_attempt *a, char ret_text[MB_ATTEMPT_TEXT_MAX]) {
  struct mb_addr addr = {.len = a->at->ai_addrlen};
  char label[MB_ADDR_LABEL_MAX];
  memcpy(&addr.any, a->at->ai_addr, a->at->ai_addrlen);
  mb_addr_label(&addr, label);
  if (strcmp(label, a->target) == 0) {
    strcpy(ret_text, label);
  } else {
    snprintf(ret_text, MB_ATTEMPT_TEXT_MAX, "%s (%s)", a->target, label);
  }
}

static int connect_local(const struct mb_addr *addr, bool wait) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (wait ? 0 : SOCK_NONBLOCK), 0);
  if (fd < 0) return -errno;
  int r;
  do {
    r = connect(fd, &addr->any, addr->len) == 0 ? 0 : -errno;
  } while (r == -EINTR);
  if (r == 0 && !wait) r = mb_fd_set_nonblocking(fd, false);
  if (r == 0) return fd;
  close(fd);
  return r;
}

int mb_connect_local(const struct mb_addr *addr, bool wait) {
  char path[sizeof addr->local.sun_path + 1];
  int fd = connect_local(addr, wait);
  if (fd < 0 && mb_addr_path(addr, path) > 0) mb_refused(-fd, MB_REFUSED_UNIX, path, 0);
  return fd;
}
