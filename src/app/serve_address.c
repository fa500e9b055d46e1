/* Opens the sockets of --serve. */
#include "app/serve_address.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/listener.h"

#define ERROR_MAX MB_SERVE_ADDRESS_ERROR_MAX

/* How to find out who has the address. */
static const char *hint(int r, bool local) {
  if (r == -EADDRINUSE)
    return local ? ": another server has it" : ": another server has it (ss -ltnp shows which)";
  if (r == -EACCES && !local) return " (a port below 1024 is for root)";
  return "";
}

static int failed(const char *where, int r, bool local, char error[ERROR_MAX]) {
  snprintf(error, ERROR_MAX, "cannot listen on %s: %s%s", where, strerror(-r), hint(r, local));
  return r == -EINVAL ? -EADDRNOTAVAIL : r;
}

static int open_path(const char *path, char error[ERROR_MAX]) {
  struct mb_addr addr;
  int r = mb_addr_from_path(path, &addr);
  /* The path of a server that still runs is not taken away from it. */
  if (r == 0 && mb_listener_answers(&addr)) r = -EADDRINUSE;
  if (r == 0) r = mb_listener_local(&addr, NULL);
  return r < 0 ? failed(path, r, true, error) : r;
}

/* Returns whether all of the addresses are loopback's. */
static bool is_loopback(const struct addrinfo *list) {
  for (const struct addrinfo *a = list; a; a = a->ai_next) {
    struct mb_addr addr = {.len = a->ai_addrlen};
    memcpy(&addr.storage, a->ai_addr, a->ai_addrlen);
    const unsigned char *ip4 = mb_addr_ip4(&addr);
    unsigned char ip6[16];
    static const unsigned char one[16] = {[15] = 1};
    if (ip4 ? ip4[0] != 127 : !mb_addr_ip6(&addr, ip6) || memcmp(ip6, one, 16) != 0) return false;
  }
  return true;
}

/* Listens at a host, or NULL for every address, and a port. */
static int open_tcp(const char *host, const char *port, const struct mb_listener_options *options,
                    bool loopback, char error[ERROR_MAX]) {
  const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                 .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
  struct addrinfo *list;
  char where[300];
  snprintf(where, sizeof where, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
  int r = getaddrinfo(host, port, &hints, &list);
  if (r != 0) {
    snprintf(error, ERROR_MAX, "cannot listen on %s: %s", where,
             r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
    return -EADDRNOTAVAIL;
  }
  if (loopback && !is_loopback(list)) {
    snprintf(error, ERROR_MAX,
             "--dev shows the script's text to whoever asks, and listens on loopback only: %s is "
             "not (write 127.0.0.1:%s)",
             where, port);
    r = -EINVAL;
  } else {
    r = mb_listener_tcp(list, options);
    /* A system without IPv6 has every IPv4 address all the same. */
    if (r == -EAFNOSUPPORT && strcmp(host, "::") == 0 && !options->v6only) {
      freeaddrinfo(list);
      return open_tcp("0.0.0.0", port, options, loopback, error);
    }
    if (r < 0) r = failed(where, r, false, error);
  }
  freeaddrinfo(list);
  return r;
}

static bool is_port(const char *text) {
  char *end;
  if (*text < '0' || *text > '9') return false;
  unsigned long port = strtoul(text, &end, 10);
  return *end == '\0' && port >= 1 && port <= UINT16_MAX;
}

int mb_serve_address_open(const char *text, bool loopback, char error[ERROR_MAX]) {
  static const struct mb_listener_options both = {.both = true};
  if (*text == '\0') text = MB_SERVE_ADDRESS;
  if (strchr(text, '/') || *text == '@') return open_path(text, error);
  if (is_port(text)) return open_tcp(loopback ? "127.0.0.1" : "::", text, &both, loopback, error);
  char host[256];
  const char *colon = strrchr(text, ':'), *from = text;
  size_t len = colon ? (size_t)(colon - text) : 0;
  if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
    from++;
    len -= 2;
  } else if (memchr(text, ':', len)) {
    len = 0; /* an IPv6 address needs its brackets */
  }
  if (len == 0 || len >= sizeof host || !is_port(colon + 1)) {
    snprintf(error, ERROR_MAX,
             "--serve: expected a port (8080), an address and a port (127.0.0.1:8080, [::1]:8080) "
             "or a path with a slash, got \"%s\"",
             text);
    return -EINVAL;
  }
  snprintf(host, sizeof host, "%.*s", (int)len, from);
  return open_tcp(host, colon + 1, &both, loopback, error);
}

int mb_serve_entry_open(const struct mb_listen_entry *l, bool loopback, char error[ERROR_MAX]) {
  if (l->proto == MB_PROTO_LOCAL) return open_path(l->text, error);
  char port[8];
  snprintf(port, sizeof port, "%d", (int)l->port);
  const struct mb_listener_options options = {.both = l->proto != MB_PROTO_TCP6,
                                              .v6only = l->proto == MB_PROTO_TCP6};
  return open_tcp(l->text, port, &options, loopback, error);
}
