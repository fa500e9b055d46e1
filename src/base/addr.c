/* Addresses as bytes and as text. Must not look up names: this runs for every connection. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/rare.h"

static const struct sockaddr_in *as_in(const struct mb_addr *addr) {
  return addr->len >= sizeof(struct sockaddr_in) && addr->any.sa_family == AF_INET
             ? (const struct sockaddr_in *)&addr->storage
             : NULL;
}

static const struct sockaddr_in6 *as_in6(const struct mb_addr *addr) {
  return addr->len >= sizeof(struct sockaddr_in6) && addr->any.sa_family == AF_INET6
             ? (const struct sockaddr_in6 *)&addr->storage
             : NULL;
}

int mb_addr_of(int fd, struct mb_addr *ret_local, struct mb_addr *ret_remote) {
  ret_local->len = sizeof ret_local->storage;
  if (getsockname(fd, &ret_local->any, &ret_local->len) != 0) return -errno;
  ret_remote->len = sizeof ret_remote->storage;
  if (getpeername(fd, &ret_remote->any, &ret_remote->len) != 0) {
    ret_remote->len = 0;
    return -errno;
  }
  return 0;
}

const unsigned char *mb_addr_ip4(const struct mb_addr *addr) {
  const struct sockaddr_in *in = as_in(addr);
  if (in) return (const unsigned char *)&in->sin_addr;
  const struct sockaddr_in6 *in6 = as_in6(addr);
  return in6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) ? in6->sin6_addr.s6_addr + 12 : NULL;
}

bool mb_addr_is_pure_ip6(const struct mb_addr *addr) {
  const struct sockaddr_in6 *in6 = as_in6(addr);
  return in6 && !IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
}

bool mb_addr_is_every(const struct mb_addr *addr) {
  const struct sockaddr_in *in = as_in(addr);
  if (in) return in->sin_addr.s_addr == INADDR_ANY;
  const struct sockaddr_in6 *in6 = as_in6(addr);
  return in6 && IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
}

bool mb_addr_is_link_local(const struct mb_addr *addr) {
  const struct sockaddr_in6 *in6 = as_in6(addr);
  return in6 &&
         (IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr) || IN6_IS_ADDR_MC_LINKLOCAL(&in6->sin6_addr));
}

bool mb_addr_is_multicast(const struct mb_addr *addr) {
  const unsigned char *ip4 = mb_addr_ip4(addr);
  if (ip4) return (ip4[0] & 0xf0) == 0xe0;
  const struct sockaddr_in6 *in6 = as_in6(addr);
  return in6 && IN6_IS_ADDR_MULTICAST(&in6->sin6_addr);
}

uint32_t mb_addr_scope(const struct mb_addr *addr) {
  const struct sockaddr_in6 *in6 = as_in6(addr);
  return in6 ? in6->sin6_scope_id : 0;
}

bool mb_addr_ip6(const struct mb_addr *addr, unsigned char ret_bytes[16]) {
  const struct sockaddr_in6 *in6 = as_in6(addr);
  if (!in6) return false;
  memcpy(ret_bytes, in6->sin6_addr.s6_addr, 16);
  return true;
}

uint16_t mb_addr_port(const struct mb_addr *addr) {
  const struct sockaddr_in *in = as_in(addr);
  if (in) return ntohs(in->sin_port);
  const struct sockaddr_in6 *in6 = as_in6(addr);
  return in6 ? ntohs(in6->sin6_port) : 0;
}

void mb_addr_set_port(struct mb_addr *addr, uint16_t port) {
  if (as_in(addr)) {
    ((struct sockaddr_in *)&addr->storage)->sin_port = htons(port);
  } else if (as_in6(addr)) {
    ((struct sockaddr_in6 *)&addr->storage)->sin6_port = htons(port);
  }
}

size_t mb_addr_path(const struct mb_addr *addr,
                    char ret_path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1]) {
  const size_t head = offsetof(struct sockaddr_un, sun_path);
  ret_path[0] = '\0';
  if (addr->len <= head || addr->any.sa_family != AF_UNIX) return 0;
  size_t len = addr->len - head;
  if (len > sizeof addr->local.sun_path) len = sizeof addr->local.sun_path;
  memcpy(ret_path, addr->local.sun_path, len);
  if (ret_path[0] == '\0') {
    ret_path[0] = '@'; /* it is abstract: the whole length is the name */
  } else {
    len = strnlen(ret_path, len);
  }
  ret_path[len] = '\0';
  return len;
}

static void add_scope(uint32_t scope, char text[MB_ADDR_TEXT_MAX]) {
  char name[IF_NAMESIZE];
  size_t at = strlen(text);
  if (MB_RARE(if_indextoname)(scope, name)) {
    snprintf(text + at, MB_ADDR_TEXT_MAX - at, "%%%s", name);
  } else {
    snprintf(text + at, MB_ADDR_TEXT_MAX - at, "%%%u", scope);
  }
}

bool mb_addr_text(const struct mb_addr *addr, char ret_text[MB_ADDR_TEXT_MAX]) {
  ret_text[0] = '\0';
  const unsigned char *ip4 = mb_addr_ip4(addr);
  if (ip4) return inet_ntop(AF_INET, ip4, ret_text, MB_ADDR_TEXT_MAX) != NULL;
  const struct sockaddr_in6 *in6 = as_in6(addr);
  if (in6) {
    if (!inet_ntop(AF_INET6, &in6->sin6_addr, ret_text, MB_ADDR_TEXT_MAX)) return false;
    if (in6->sin6_scope_id) add_scope(in6->sin6_scope_id, ret_text);
    return true;
  }
  char path[sizeof addr->local.sun_path + 1];
  if (mb_addr_path(addr, path) == 0) return false;
  /* A relative path may look like an IP address or a user: "./" shows that it is a path. */
  snprintf(ret_text, MB_ADDR_TEXT_MAX, "%s%s", path[0] == '/' || path[0] == '@' ? "" : "./", path);
  return true;
}

void mb_addr_label(const struct mb_addr *addr, char ret_text[MB_ADDR_LABEL_MAX]) {
  char text[MB_ADDR_TEXT_MAX];
  if (!mb_addr_text(addr, text)) {
    strcpy(ret_text, "unnamed");
  } else if (mb_addr_ip4(addr)) {
    snprintf(ret_text, MB_ADDR_LABEL_MAX, "%s:%u", text, mb_addr_port(addr));
  } else if (as_in6(addr)) {
    snprintf(ret_text, MB_ADDR_LABEL_MAX, "[%s]:%u", text, mb_addr_port(addr));
  } else {
    strcpy(ret_text, text);
  }
}

void mb_addr_peer_label(int fd, const struct mb_addr *remote, char ret_text[MB_ADDR_LABEL_MAX]) {
  struct ucred who;
  socklen_t len = sizeof who;
  mb_addr_label(remote, ret_text);
  if (remote->len > 0 && remote->any.sa_family == AF_UNIX &&
      getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0)
    snprintf(ret_text, MB_ADDR_LABEL_MAX, "uid %u", who.uid);
}

static bool is_interface_name(const char *text) {
  size_t len = strcspn(text, " \t\n\v\f\r/:%");
  return len > 0 && len < IF_NAMESIZE && text[len] == '\0';
}

/* Returns the number of an interface, or -errno. The name fits. */
static int find_interface(const char *name, int fd) {
  struct ifreq request = {.ifr_ifindex = 0};
  int asked = fd < 0 ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : fd;
  /* A sandbox may leave one kind only. */
  if (asked < 0) asked = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (asked < 0) return -errno;
  strcpy(request.ifr_name, name);
  int r = ioctl(asked, SIOCGIFINDEX, &request) == 0 ? request.ifr_ifindex : -errno;
  if (fd < 0) close(asked);
  return r;
}

/* Returns 0, -EBADMSG, -ENODEV, or -errno. The text has less than IF_NAMESIZE bytes. */
static int find_scope(const char *text, int fd, uint32_t *ret_scope) {
  int64_t number = find_interface(text, fd);
  if (number < 0) {
    /* After another error an interface may still have that name. */
    if (number != -ENODEV || text[strspn(text, "0123456789")] != '\0') return (int)number;
    number = 0;
    for (; *text; text++) number = number * 10 + (*text - '0');
    /* The system keeps these numbers, from 1, in an int. */
    if (number == 0 || number > INT_MAX) return -EBADMSG;
  }
  *ret_scope = (uint32_t)number;
  return 0;
}

static int from_scoped_text(const char *text, const char *scope, int fd, struct mb_addr *ret) {
  struct mb_addr addr;
  char front[INET6_ADDRSTRLEN];
  size_t len = (size_t)(scope - 1 - text);
  if (len >= sizeof front || !is_interface_name(scope)) return -EBADMSG;
  memcpy(front, text, len);
  front[len] = '\0';
  if (mb_addr_from_text(front, fd, &addr) != 0 || !mb_addr_is_link_local(&addr)) return -EBADMSG;
  int r = find_scope(scope, fd, &((struct sockaddr_in6 *)&addr.storage)->sin6_scope_id);
  if (r != -EBADMSG) *ret = addr;
  return r;
}

int mb_addr_from_text(const char *text, int fd, struct mb_addr *ret) {
  struct sockaddr_in in = {.sin_family = AF_INET};
  struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
  const char *percent = strchr(text, '%');
  if (percent) return from_scoped_text(text, percent + 1, fd, ret);
  if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
    memcpy(&ret->storage, &in, sizeof in);
    ret->len = sizeof in;
  } else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1) {
    memcpy(&ret->storage, &in6, sizeof in6);
    ret->len = sizeof in6;
  } else {
    return -EINVAL;
  }
  return 0;
}

int mb_addr_from_path(const char *path, struct mb_addr *ret) {
  size_t len = strlen(path);
  bool abstract = path[0] == '@';
  if (len <= (abstract ? 1U : 0U)) return -EINVAL;
  /* The NUL that ends a path is part of the address; an abstract name has none. */
  if (len + (abstract ? 0 : 1) > sizeof ret->local.sun_path) return -ENAMETOOLONG;
  memset(&ret->local, 0, sizeof ret->local);
  ret->local.sun_family = AF_UNIX;
  memcpy(ret->local.sun_path, path, len);
  if (abstract) ret->local.sun_path[0] = '\0';
  ret->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (abstract ? 0 : 1));
  return 0;
}
