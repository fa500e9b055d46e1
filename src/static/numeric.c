/* Numeric hosts and ports. Asks nobody. */
#include "static/numeric.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- socket types ---- */

struct type {
  int socktype, protocol;
  bool any_protocol; /* the protocol is the caller's, and there are no ports */
  bool is_usual;     /* without a type or protocol, these are returned */
};

/* In the order in which glibc has them. */
static const struct type types[] = {
    {SOCK_STREAM, IPPROTO_TCP, false, true},
    {SOCK_DGRAM, IPPROTO_UDP, false, true},
    {SOCK_DCCP, IPPROTO_DCCP, false, false},
    {SOCK_DGRAM, IPPROTO_UDPLITE, false, false},
    {SOCK_STREAM, IPPROTO_SCTP, false, false},
    {SOCK_SEQPACKET, IPPROTO_SCTP, false, false},
    {SOCK_RAW, 0, true, true},
};
#define TYPES (sizeof types / sizeof types[0])

/* Finds the first row for the hints; NULL when there is none. */
static const struct type *find_type(const struct addrinfo *hints) {
  for (const struct type *t = types; t < types + TYPES; t++) {
    bool is_type = hints->ai_socktype == 0 || hints->ai_socktype == t->socktype;
    bool is_protocol =
        hints->ai_protocol == 0 || t->any_protocol || hints->ai_protocol == t->protocol;
    if (is_type && is_protocol) return t;
  }
  return NULL;
}

/* ---- hosts ---- */

struct host {
  int family;
  union {
    struct in_addr ip4;
    struct in6_addr ip6;
  };
  uint32_t scope;
};

/* Reads an IPv4 address in all its forms ("127.1"), with nothing behind it. */
static bool read_ip4(const char *text, struct in_addr *ret) {
  return inet_aton(text, ret) && !strpbrk(text, " \t\n\v\f\r");
}

/* Reads what stands behind "%". */
static bool read_scope(const char *text, const struct in6_addr *address, uint32_t *ret) {
  if (IN6_IS_ADDR_LINKLOCAL(address) || IN6_IS_ADDR_MC_LINKLOCAL(address)) {
    unsigned index = if_nametoindex(text);
    if (index != 0) {
      *ret = index;
      return true;
    }
  }
  if (*text < '0' || *text > '9') return false;
  char *end;
  unsigned long long number = strtoull(text, &end, 10);
  if (*end != '\0' || number > UINT32_MAX) return false;
  *ret = (uint32_t)number;
  return true;
}

static int take_ip4(const struct in_addr *address, const struct addrinfo *hints, struct host *ret) {
  *ret = (struct host){.family = AF_INET, .ip4 = *address};
  if (hints->ai_family != AF_INET6) return 0;
  if (!(hints->ai_flags & AI_V4MAPPED)) return EAI_ADDRFAMILY;
  ret->family = AF_INET6;
  memset(&ret->ip6, 0, sizeof ret->ip6);
  ret->ip6.s6_addr[10] = ret->ip6.s6_addr[11] = 0xff;
  memcpy(ret->ip6.s6_addr + 12, address, 4);
  return 0;
}

static int take_ip6(const struct in6_addr *address, const char *scope, const struct addrinfo *hints,
                    struct host *ret) {
  *ret = (struct host){.family = AF_INET6, .ip6 = *address};
  if (hints->ai_family == AF_INET) {
    if (!IN6_IS_ADDR_V4MAPPED(address)) return EAI_ADDRFAMILY;
    ret->family = AF_INET;
    memcpy(&ret->ip4, address->s6_addr + 12, 4);
  }
  return !scope || read_scope(scope, address, &ret->scope) ? 0 : EAI_NONAME;
}

/* Reads a host that is an address. Returns 0, an error of getaddrinfo, or MB_NUMERIC_NOT. */
static int read_host(const char *name, const struct addrinfo *hints, struct host *ret) {
  struct in_addr ip4;
  struct in6_addr ip6;
  char text[INET6_ADDRSTRLEN];
  if (read_ip4(name, &ip4)) return take_ip4(&ip4, hints, ret);
  const char *percent = strchr(name, '%');
  size_t len = percent ? (size_t)(percent - name) : strlen(name);
  if (len < sizeof text) {
    memcpy(text, name, len);
    text[len] = '\0';
    if (inet_pton(AF_INET6, text, &ip6) == 1)
      return take_ip6(&ip6, percent ? percent + 1 : NULL, hints, ret);
  }
  return hints->ai_flags & AI_NUMERICHOST ? EAI_NONAME : MB_NUMERIC_NOT;
}

/* Returns whether the system has a way to an address, for which nothing is sent. */
static bool has_source(const struct sockaddr *address, socklen_t len) {
  int fd = socket(address->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_IP);
  if (fd < 0) return false;
  bool has = connect(fd, address, len) == 0;
  close(fd);
  return has;
}

/*
 * Fills in the addresses of no host: loopback, or every address. Of both families, one comes first as RFC 3484 orders
 * them: the one that the system has a way to; else IPv6 of loopback, and IPv4 of every address.
 * Returns how many there are.
 */
static size_t no_host(const struct addrinfo *hints, uint16_t port, struct host ret[2]) {
  bool passive = hints->ai_flags & AI_PASSIVE;
  struct host ip6 = {.family = AF_INET6, .ip6 = passive ? in6addr_any : in6addr_loopback};
  struct host ip4 = {.family = AF_INET,
                     .ip4.s_addr = htonl(passive ? INADDR_ANY : INADDR_LOOPBACK)};
  ret[0] = hints->ai_family == AF_INET ? ip4 : ip6;
  if (hints->ai_family != AF_UNSPEC) return 1;
  struct sockaddr_in6 six = {
      .sin6_family = AF_INET6, .sin6_addr = ip6.ip6, .sin6_port = htons(port)};
  struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr = ip4.ip4, .sin_port = htons(port)};
  bool has6 = has_source((const struct sockaddr *)&six, sizeof six);
  bool has4 = has_source((const struct sockaddr *)&four, sizeof four);
  bool is_ip4_first = has6 == has4 ? passive : has4;
  ret[0] = is_ip4_first ? ip4 : ip6;
  ret[1] = is_ip4_first ? ip6 : ip4;
  return 2;
}

/* ---- the list ---- */

struct entry {
  struct addrinfo info;
  struct sockaddr_storage address;
};

struct addrinfo *mb_numeric_entry(const struct addrinfo *like, const void *address, size_t size,
                                  const char *canonical) {
  struct entry *e = size <= sizeof e->address ? calloc(1, sizeof *e) : NULL;
  char *name = e && canonical ? strdup(canonical) : NULL;
  if (!e || (canonical && !name)) {
    free(e);
    return NULL;
  }
  memcpy(&e->address, address, size);
  e->info = (struct addrinfo){
      .ai_flags = like->ai_flags,
      .ai_family = like->ai_family,
      .ai_socktype = like->ai_socktype,
      .ai_protocol = like->ai_protocol,
      .ai_addrlen = (socklen_t)size,
      .ai_addr = (struct sockaddr *)&e->address,
      .ai_canonname = name,
  };
  return &e->info;
}

void mb_numeric_free(struct addrinfo *list) {
  while (list) {
    struct addrinfo *next = list->ai_next;
    free(list->ai_canonname);
    free(list); /* it is the first member of its entry */
    list = next;
  }
}

static struct addrinfo *new_entry(const struct host *host, const struct type *type, uint16_t port,
                                  const struct addrinfo *hints, const char *canonical) {
  struct addrinfo like = {
      .ai_flags = hints->ai_flags,
      .ai_family = host->family,
      .ai_socktype = type->socktype,
      .ai_protocol = type->any_protocol ? hints->ai_protocol : type->protocol,
  };
  if (host->family == AF_INET6) {
    struct sockaddr_in6 six = {.sin6_family = AF_INET6,
                               .sin6_addr = host->ip6,
                               .sin6_port = htons(port),
                               .sin6_scope_id = host->scope};
    return mb_numeric_entry(&like, &six, sizeof six, canonical);
  }
  struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr = host->ip4, .sin_port = htons(port)};
  return mb_numeric_entry(&like, &four, sizeof four, canonical);
}

/* first: the only type that is wanted; NULL: all that are usual. */
static int make_list(const struct host *hosts, size_t count, const struct type *only, uint16_t port,
                     const struct addrinfo *hints, const char *canonical, struct addrinfo **ret) {
  struct addrinfo *list = NULL, **end = &list;
  for (size_t i = 0; i < count; i++) {
    for (const struct type *t = types; t < types + TYPES; t++) {
      if (only ? t != only : !t->is_usual) continue;
      *end = new_entry(&hosts[i], t, port, hints, canonical);
      if (!*end) {
        mb_numeric_free(list);
        return EAI_MEMORY;
      }
      end = &(*end)->ai_next;
      canonical = NULL; /* it stands in the first entry */
    }
  }
  *ret = list;
  return 0;
}

/* ---- getaddrinfo ---- */

enum {
  NAMES_ONLY = AI_IDN | AI_CANONIDN | AI_ADDRCONFIG, /* they depend on more than the arguments */
  KNOWN_FLAGS = NAMES_ONLY | AI_PASSIVE | AI_CANONNAME | AI_NUMERICHOST | AI_V4MAPPED | AI_ALL |
                AI_NUMERICSERV | 0x100 | 0x200, /* two that glibc has given up, and takes */
};

/* Reads a service that is a port. Returns 0, an error of getaddrinfo, or MB_NUMERIC_NOT. */
static int read_port(const char *service, const struct addrinfo *hints, uint16_t *ret) {
  char *end;
  int number = (int)strtoul(service, &end, 10); /* as glibc does: "-1" is a name */
  if (*end != '\0' && hints->ai_flags & AI_NUMERICSERV) return EAI_NONAME;
  if (*end != '\0' || number < 0) return MB_NUMERIC_NOT;
  *ret = (uint16_t)number;
  return 0;
}

int mb_numeric_addrinfo(const char *host, const char *service, const struct addrinfo *hints,
                        struct addrinfo **ret) {
  if (host && strcmp(host, "*") == 0) host = NULL;
  if (service && strcmp(service, "*") == 0) service = NULL;
  if (!host && !service) return EAI_NONAME;
  if (!hints) return MB_NUMERIC_NOT; /* that is AI_ADDRCONFIG */
  if (hints->ai_flags & ~KNOWN_FLAGS) return EAI_BADFLAGS;
  if (!host && hints->ai_flags & AI_CANONNAME) return EAI_BADFLAGS;
  int family = hints->ai_family;
  if (family != AF_UNSPEC && family != AF_INET && family != AF_INET6) return EAI_FAMILY;
  if (hints->ai_flags & NAMES_ONLY) return MB_NUMERIC_NOT;
  uint16_t port = 0;
  bool is_named = false;
  if (service && *service) {
    int code = read_port(service, hints, &port);
    if (code < 0) return code;
    is_named = code == MB_NUMERIC_NOT;
  }
  bool any_type = hints->ai_socktype == 0 && hints->ai_protocol == 0;
  const struct type *type = any_type ? NULL : find_type(hints);
  if (!any_type && !type) return hints->ai_socktype ? EAI_SOCKTYPE : EAI_SERVICE;
  if (service && *service && type && type->any_protocol) return EAI_SERVICE;
  if (is_named) return MB_NUMERIC_NOT;
  struct host hosts[2];
  size_t count = 1;
  if (host) {
    int code = read_host(host, hints, &hosts[0]);
    if (code != 0) return code;
  } else {
    count = no_host(hints, port, hosts);
  }
  return make_list(hosts, count, type, port, hints, hints->ai_flags & AI_CANONNAME ? host : NULL,
                   ret);
}

/* ---- getnameinfo ---- */

static int write_scope(const struct sockaddr_in6 *six, char *to, size_t size) {
  char name[IF_NAMESIZE];
  const struct in6_addr *address = &six->sin6_addr;
  bool is_link_local = IN6_IS_ADDR_LINKLOCAL(address) || IN6_IS_ADDR_MC_LINKLOCAL(address);
  int len = is_link_local && if_indextoname(six->sin6_scope_id, name)
                ? snprintf(to, size, "%%%s", name)
                : snprintf(to, size, "%%%u", (unsigned)six->sin6_scope_id);
  return len < 0 || (size_t)len >= size ? EAI_OVERFLOW : 0;
}

static int write_host(const struct sockaddr *address, char *to, size_t size) {
  const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)address;
  const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)address;
  bool is_ip6 = address->sa_family == AF_INET6;
  const void *bytes = is_ip6 ? (const void *)&six->sin6_addr : (const void *)&four->sin_addr;
  if (!inet_ntop(address->sa_family, bytes, to, (socklen_t)size)) return EAI_OVERFLOW;
  if (!is_ip6 || six->sin6_scope_id == 0) return 0;
  size_t used = strlen(to);
  return write_scope(six, to + used, size - used);
}

static int write_service(const struct sockaddr *address, char *to, size_t size) {
  /* The port stands at the same place in both families. */
  const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)address;
  int len = snprintf(to, size, "%d", ntohs(four->sin_port));
  return len < 0 || (size_t)len >= size ? EAI_OVERFLOW : 0;
}

int mb_numeric_nameinfo(const struct sockaddr *address, socklen_t len, char *host,
                        socklen_t host_size, char *service, socklen_t service_size, int flags) {
  enum { KNOWN = NI_NUMERICHOST | NI_NUMERICSERV | NI_NOFQDN | NI_NAMEREQD | NI_DGRAM };
  if (flags & ~KNOWN) return MB_NUMERIC_NOT;
  if (!address || len < sizeof address->sa_family) return EAI_FAMILY;
  if (flags & NI_NAMEREQD && !host && !service) return EAI_NONAME;
  bool is_ip4 = address->sa_family == AF_INET, is_ip6 = address->sa_family == AF_INET6;
  if (!is_ip4 && !is_ip6) return address->sa_family == AF_UNIX ? MB_NUMERIC_NOT : EAI_FAMILY;
  if (len < (is_ip4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6))) return EAI_FAMILY;
  bool wants_host = host && host_size > 0, wants_service = service && service_size > 0;
  if (wants_host && !(flags & NI_NUMERICHOST)) return MB_NUMERIC_NOT;
  if (wants_service && !(flags & NI_NUMERICSERV)) return MB_NUMERIC_NOT;
  if (wants_host && flags & NI_NAMEREQD) return EAI_NONAME;
  int code = wants_host ? write_host(address, host, host_size) : 0;
  if (code == 0 && wants_service) code = write_service(address, service, service_size);
  return code;
}
