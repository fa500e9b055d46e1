/* Which listener a connection came in on. Looks up names only in mb_match_name. */
#include "base/match.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>

static bool same_ip4(const struct mb_addr *local, const void *bytes) {
  const unsigned char *ip4 = mb_addr_ip4(local);
  return ip4 && memcmp(ip4, bytes, 4) == 0;
}

static bool same_ip6(const struct mb_addr *local, const void *bytes) {
  unsigned char ip6[16];
  return mb_addr_ip6(local, ip6) && memcmp(ip6, bytes, 16) == 0;
}

enum mb_match mb_match_host(const char *host, const struct mb_addr *local) {
  struct in_addr in;
  struct in6_addr in6;
  bool yes;
  if (inet_pton(AF_INET, host, &in) == 1) {
    yes = in.s_addr == INADDR_ANY ? mb_addr_ip4(local) != NULL : same_ip4(local, &in);
  } else if (inet_pton(AF_INET6, host, &in6) == 1) {
    if (IN6_IS_ADDR_V4MAPPED(&in6)) {
      yes = same_ip4(local, in6.s6_addr + 12);
    } else {
      yes = IN6_IS_ADDR_UNSPECIFIED(&in6) || same_ip6(local, &in6);
    }
  } else {
    return MB_MATCH_NAME;
  }
  return yes ? MB_MATCH_YES : MB_MATCH_NO;
}

bool mb_match_address(const struct mb_addr *wanted, const struct mb_addr *local) {
  const unsigned char *ip4 = mb_addr_ip4(wanted);
  unsigned char ip6[16];
  return ip4 ? same_ip4(local, ip4) : mb_addr_ip6(wanted, ip6) && same_ip6(local, ip6);
}

bool mb_match_name(const char *host, const struct mb_addr *local) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
  if (getaddrinfo(host, NULL, &hints, &list) != 0) return false;
  bool found = false;
  for (const struct addrinfo *a = list; a && !found; a = a->ai_next) {
    struct mb_addr other = {.len = a->ai_addrlen};
    memcpy(&other.storage, a->ai_addr, a->ai_addrlen);
    found = mb_match_address(&other, local);
  }
  freeaddrinfo(list);
  return found;
}

bool mb_match_path(const char *wanted, const struct mb_addr *local) {
  char path[sizeof local->local.sun_path + 1];
  if (mb_addr_path(local, path) == 0) return false;
  if (strcmp(path, wanted) == 0) return true;
  /* The same socket by another name, as through /var/run. */
  struct stat a, b;
  return wanted[0] == '/' && path[0] == '/' && stat(path, &a) == 0 && stat(wanted, &b) == 0 &&
         a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}
