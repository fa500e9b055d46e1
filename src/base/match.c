/* Finds out which listener a connection came in on. Only mb_match_name looks names up. */
#include "base/match.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/stat.h>

#include "base/rare.h"

static bool same_ip4(const struct mb_addr *local, const void *bytes) {
  const unsigned char *ip4 = mb_addr_ip4(local);
  return ip4 && memcmp(ip4, bytes, 4) == 0;
}

static bool same_ip6(const struct mb_addr *local, const void *bytes) {
  unsigned char ip6[16];
  return mb_addr_ip6(local, ip6) && memcmp(ip6, bytes, 16) == 0;
}

enum mb_match mb_match_host(const char *host, const struct mb_addr *local, int fd) {
  struct mb_addr wanted;
  int r = mb_addr_from_text(host, fd, &wanted);
  if (r == -EINVAL) return MB_MATCH_NAME;
  if (r < 0) return MB_MATCH_NO; /* no connection came in on an interface that is not there */
  bool yes;
  if (mb_addr_is_every(&wanted)) {
    yes = !mb_addr_ip4(&wanted) || mb_addr_ip4(local);
  } else {
    yes = mb_match_address(&wanted, local);
  }
  return yes ? MB_MATCH_YES : MB_MATCH_NO;
}

bool mb_match_address(const struct mb_addr *wanted, const struct mb_addr *local) {
  const unsigned char *ip4 = mb_addr_ip4(wanted);
  if (ip4) return same_ip4(local, ip4);
  unsigned char ip6[16];
  uint32_t scope = mb_addr_scope(wanted);
  return mb_addr_ip6(wanted, ip6) && same_ip6(local, ip6) &&
         (scope == 0 || scope == mb_addr_scope(local));
}

bool mb_match_name(const char *host, const struct mb_addr *local) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
  if (MB_RARE(getaddrinfo)(host, NULL, &hints, &list) != 0) return false;
  bool found = false;
  for (const struct addrinfo *a = list; a && !found; a = a->ai_next) {
    struct mb_addr other = {.len = a->ai_addrlen};
    memcpy(&other.storage, a->ai_addr, a->ai_addrlen);
    found = mb_match_address(&other, local);
  }
  MB_RARE(freeaddrinfo)(list);
  return found;
}

bool mb_match_path(const char *wanted, const struct mb_addr *local) {
  char path[sizeof local->local.sun_path + 1];
  if (mb_addr_path(local, path) == 0) return false;
  if (strcmp(path, wanted) == 0) return true;
  /* Another path may lead to the same socket, as one through /var/run does. */
  struct stat a, b;
  return wanted[0] == '/' && path[0] == '/' && stat(path, &a) == 0 && stat(wanted, &b) == 0 &&
         a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}
