/* Connections that we open. Knows neither Lua nor the log. */
#include "base/connect.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fdio.h"

/*
 * A lookup that failed for want of descriptors says that the name is unknown, or what a name service
 * module left in errno: the files and sockets that would know it could not be opened. Returns the
 * code, or EAI_SYSTEM with errno then.
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
  struct addrinfo hints = {
      .ai_flags = AI_NUMERICHOST | (passive ? AI_PASSIVE : 0),
      .ai_family = AF_UNSPEC,
      .ai_socktype = SOCK_STREAM,
  };
  int code = getaddrinfo(host, port, &hints, ret);
  if (code != EAI_NONAME) return code;
  /* Not AI_ADDRCONFIG: it hides loopback addresses on hosts that have no others of their family. */
  hints.ai_flags &= ~AI_NUMERICHOST;
  return true_failure(getaddrinfo(host, port, &hints, ret));
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
  if (a->addresses) freeaddrinfo(a->addresses);
  mb_alloc(alloc, a, a->size, 0);
}

/* Begins with one address. Returns a descriptor, connected or about to be, or -errno. */
static int begin(const struct addrinfo *address) {
  int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
  if (fd < 0) return -errno;
  mb_fd_set_reset_on_close(fd, MB_FD_TCP, true);
  if (connect(fd, address->ai_addr, address->ai_addrlen) == 0) return fd;
  /* Interrupted, it goes on by itself. */
  if (errno == EINPROGRESS || errno == EINTR) return fd;
  int r = errno == EAGAIN ? -EADDRNOTAVAIL : -errno; /* EAGAIN is "undecided" here */
  close(fd);
  return r;
}

/* We lack something: no other address would help. */
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
 * Puts the next attempt in the place of a descriptor, which needs no second one. Returns 0, or
 * -errno with *fd closed.
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

/* A port of this host from which nobody listens can be taken by the very connection to it. */
static bool is_to_itself(const struct mb_addr *local, const struct mb_addr *remote) {
  return local->len == remote->len && memcmp(&local->any, &remote->any, local->len) == 0;
}

/* What SO_ERROR says of a connection that was there; of one that was not, it says "refused". */
static bool is_loss(int error) { return error == ECONNRESET || error == EPIPE; }

/* Returns 0 when connected, -EAGAIN, or -errno of this one address. */
static int outcome(struct mb_attempt *a, int fd, bool wait, struct mb_addr *ret_local,
                   struct mb_addr *ret_remote) {
  int r = mb_fd_poll(fd, POLLOUT, wait ? MB_NO_DEADLINE : 0);
  if (r < 0) return r;
  if (r == 0) return -EAGAIN;
  int error = 0;
  socklen_t len = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) return -errno;
  if (error && !is_loss(error)) return -error;
  a->lost = error; /* what the peer has sent before can be read all the same */
  r = mb_addr_of(fd, ret_local, ret_remote);
  if (r == -ENOTCONN) { /* lost */
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

int mb_connect_local(const struct mb_addr *addr, bool wait) {
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
