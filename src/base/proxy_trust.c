/* Networks as text. Must not look up names: this runs for every connection that comes by a proxy. */
#include "base/proxy_trust.h"

#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rare.h"

/* In a user namespace all users have this number that it does not know. */
#define OVERFLOW_UID 65534

#define LOOPBACK "127.0.0.0/8,::1"

struct network {
  int family;
  unsigned char bytes[16];
  unsigned bits;  /* of the prefix */
  uint32_t scope; /* 0: any */
  bool is_here;   /* false: no interface has the name in the scope, so no peer is in the network */
};

/* Reads "/24", with nothing behind it. An empty text stands for all the bits of the address. */
static bool parse_bits(const char *text, size_t len, unsigned most, unsigned *ret_bits) {
  if (len == 0) {
    *ret_bits = most;
    return true;
  }
  unsigned bits = 0;
  if (text[0] != '/' || len < 2 || len > 4 || (text[1] == '0' && len > 2)) return false;
  for (size_t i = 1; i < len; i++) {
    if (text[i] < '0' || text[i] > '9') return false;
    bits = bits * 10 + (unsigned)(text[i] - '0');
  }
  *ret_bits = bits;
  return bits <= most;
}

/* Returns whether the first bits of two addresses are the same. */
static bool same_prefix(const unsigned char *a, const unsigned char *b, unsigned bits) {
  if (memcmp(a, b, bits / 8) != 0) return false;
  if (bits % 8 == 0) return true;
  unsigned char mask = (unsigned char)(0xff << (8 - bits % 8));
  return ((a[bits / 8] ^ b[bits / 8]) & mask) == 0;
}

/* Returns whether all bits behind the prefix are zeros. */
static bool is_prefix(const struct network *n, size_t size) {
  for (unsigned bit = n->bits; bit < size * 8; bit++) {
    if (n->bytes[bit / 8] & (0x80 >> bit % 8)) return false;
  }
  return true;
}

static bool is_unix(const char *text, size_t len) {
  return len == strlen(MB_TRUST_UNIX) && memcmp(text, MB_TRUST_UNIX, len) == 0;
}

static bool parse(const char *text, size_t len, int fd, struct network *ret) {
  struct mb_addr addr;
  if (is_unix(text, len)) {
    *ret = (struct network){.family = AF_UNIX};
    return true;
  }
  char address[INET6_ADDRSTRLEN + IF_NAMESIZE];
  const char *slash = memchr(text, '/', len);
  size_t address_len = slash ? (size_t)(slash - text) : len;
  if (address_len >= sizeof address) return false;
  memcpy(address, text, address_len);
  address[address_len] = '\0';
  int r = mb_addr_from_text(address, fd, &addr);
  if (r == -EINVAL || r == -EBADMSG) return false;
  size_t size = 16;
  if (addr.any.sa_family == AF_INET) {
    size = 4;
    memcpy(ret->bytes, mb_addr_ip4(&addr), size);
  } else if (mb_addr_ip4(&addr) || !mb_addr_ip6(&addr, ret->bytes)) {
    return false; /* a mapped address: IPv4 is written, and compared, as IPv4 */
  }
  ret->family = addr.any.sa_family;
  ret->scope = mb_addr_scope(&addr);
  ret->is_here = r == 0;
  return parse_bits(text + address_len, len - address_len, (unsigned)size * 8, &ret->bits) &&
         is_prefix(ret, size);
}

const char *mb_trust_find_wrong(const char *list) {
  struct network network;
  for (;;) {
    size_t len = strcspn(list, ",");
    if (!parse(list, len, -1, &network)) return list;
    if (list[len] == '\0') return NULL;
    list += len + 1;
  }
}

bool mb_trust_is_network(const char *entry) {
  struct network network;
  return parse(entry, strlen(entry), -1, &network);
}

/* Returns whether one entry of the list is MB_TRUST_UNIX. */
static bool has_unix(const char *list) {
  while (list) {
    size_t len = strcspn(list, ",");
    if (is_unix(list, len)) return true;
    list = list[len] ? list + len + 1 : NULL;
  }
  return false;
}

bool mb_trust_contains(const char *list, const struct mb_addr *addr, int fd) {
  if (addr->any.sa_family == AF_UNIX) return has_unix(list);
  unsigned char ip6[16];
  const unsigned char *ip4 = mb_addr_ip4(addr);
  if (!ip4 && !mb_addr_ip6(addr, ip6)) return false;
  for (const char *at = list ? list : LOOPBACK;;) {
    struct network network;
    size_t len = strcspn(at, ",");
    if (parse(at, len, fd, &network) && network.is_here &&
        network.family == (ip4 ? AF_INET : AF_INET6) &&
        same_prefix(ip4 ? ip4 : ip6, network.bytes, network.bits) &&
        (network.scope == 0 || network.scope == mb_addr_scope(addr)))
      return true;
    if (at[len] == '\0') return false;
    at += len + 1;
  }
}

bool mb_trust_is_open(const struct mb_addr *local) {
  char given[sizeof local->local.sun_path + 1], real[PATH_MAX];
  struct stat st;
  if (mb_addr_path(local, given) == 0) return false;
  if (given[0] != '/') return true;
  /* We may be shut out by a directory ourselves. Then that directory is looked for in the path as it is. */
  char *path = realpath(given, real) ? real : given;
  for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    /* A link here is none of a path without links: nobody knows where it leads. */
    if (MB_RARE_LARGE(lstat)(path, &st) != 0 || !S_ISDIR(st.st_mode)) return true;
    if (!(st.st_mode & S_IXOTH)) return false;
    *slash = '/';
  }
  return MB_RARE_LARGE(lstat)(path, &st) != 0 || !S_ISSOCK(st.st_mode) || st.st_mode & S_IWOTH;
}

bool mb_trust_is_own_peer(int fd) {
  struct ucred peer;
  socklen_t len = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) return false;
  return peer.uid == 0 || (peer.uid == mb_rare_geteuid() && peer.uid != OVERFLOW_UID);
}
