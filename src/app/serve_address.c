/* Opens the sockets of --serve. */
#include "app/serve_address.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/listener.h"
#include "base/rare.h"

#define ERROR_MAX MB_SERVE_ADDRESS_ERROR_MAX
#define HOST_MAX  256

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
  if (r == -EEXIST) {
    snprintf(error, ERROR_MAX, "cannot listen on %s: it is there, and is no socket", path);
    return r;
  }
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
  int r = MB_RARE(getaddrinfo)(host, port, &hints, &list);
  if (r != 0) {
    snprintf(error, ERROR_MAX, "cannot listen on %s: %s", where,
             r == EAI_SYSTEM ? strerror(errno) : MB_RARE(gai_strerror)(r));
    return -EADDRNOTAVAIL;
  }
  if (loopback && !is_loopback(list)) {
    snprintf(error, ERROR_MAX,
             "--dev shows the script's text to whoever asks, and listens on loopback only: %s is "
             "not (in the script, host = \"127.0.0.1\"; on the command line, 127.0.0.1:%s)",
             where, port);
    r = -EINVAL;
  } else {
    r = mb_listener_tcp(list, options);
    /* A system without IPv6 has every IPv4 address all the same. */
    if (r == -EAFNOSUPPORT && strcmp(host, "::") == 0 && !options->v6only) {
      MB_RARE(freeaddrinfo)(list);
      return open_tcp("0.0.0.0", port, options, loopback, error);
    }
    if (r < 0) r = failed(where, r, false, error);
  }
  MB_RARE(freeaddrinfo)(list);
  return r;
}

static bool is_port(const char *text) {
  char *end;
  if (*text < '0' || *text > '9') return false;
  unsigned long port = strtoul(text, &end, 10);
  return *end == '\0' && port >= 1 && port <= UINT16_MAX;
}

/*
 * Splits a text into a host and a port. "" is the host of a port alone.
 * Returns the port, or NULL when the text is no such address.
 */
static const char *split(const char *text, char host[HOST_MAX]) {
  const char *colon = strrchr(text, ':'), *from = text;
  size_t len = colon ? (size_t)(colon - text) : 0;
  host[0] = '\0';
  if (is_port(text)) return text;
  if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
    from++;
    len -= 2;
  } else if (memchr(text, ':', len)) {
    len = 0; /* an IPv6 address needs its brackets */
  }
  if (len == 0 || len >= HOST_MAX || !is_port(colon + 1)) return NULL;
  if (len > 1 || *from != '*') snprintf(host, HOST_MAX, "%.*s", (int)len, from);
  return colon + 1;
}

static bool is_path(const char *text) { return strchr(text, '/') || *text == '@'; }

int mb_serve_address_open(const char *text, bool loopback, char error[ERROR_MAX]) {
  static const struct mb_listener_options both = {.both = true};
  char host[HOST_MAX];
  if (*text == '\0') text = MB_SERVE_ADDRESS;
  if (is_path(text) && !strstr(text, "://")) return open_path(text, error);
  const char *port = split(text, host);
  if (!port) {
    snprintf(error, ERROR_MAX,
             "--serve: expected a port (8080), an address and a port (127.0.0.1:8080, [::1]:8080) "
             "or a path with a slash, got \"%s\"",
             text);
    return -EINVAL;
  }
  const char *every = loopback ? "127.0.0.1" : "::";
  return open_tcp(host[0] ? host : every, port, &both, loopback, error);
}

bool mb_serve_address_parse(const char *text, struct mb_addr *ret) {
  char host[HOST_MAX];
  if (!text || !*text) return false;
  if (is_path(text)) return mb_addr_from_path(text, ret) == 0;
  const char *port = split(text, host);
  if (!port) return false;
  if (mb_addr_from_text(host[0] ? host : "::", -1, ret) < 0) mb_addr_from_text("::", -1, ret);
  mb_addr_set_port(ret, (uint16_t)atoi(port));
  return true;
}

/* Returns the host at which a listener listens. One that names no host has "::". */
static const char *host_of(const struct mb_listen_entry *l, bool loopback) {
  return loopback && strcmp(l->text, "::") == 0 ? "127.0.0.1" : l->text;
}

bool mb_serve_entry_is_at(const struct mb_listen_entry *l, const struct mb_addr *local,
                          bool loopback) {
  struct mb_addr wanted;
  if (l->proto == MB_PROTO_ANY || l->proto == MB_PROTO_LOCAL) return true;
  if (mb_addr_from_text(host_of(l, loopback), -1, &wanted) < 0) return true; /* a name */
  bool is_every = mb_addr_is_every(local);
  if (!mb_addr_is_every(&wanted)) return !is_every;
  /* "::" is opened as 0.0.0.0 on a system without IPv6. */
  return is_every && (!mb_addr_ip4(&wanted) == !mb_addr_ip4(local) || !mb_addr_ip4(&wanted));
}

int mb_serve_entry_open(const struct mb_listen_entry *l, bool loopback, char error[ERROR_MAX]) {
  if (l->proto == MB_PROTO_LOCAL) return open_path(l->text, error);
  char port[8];
  snprintf(port, sizeof port, "%d", (int)l->port);
  const struct mb_listener_options options = {.both = l->proto != MB_PROTO_TCP6,
                                              .v6only = l->proto == MB_PROTO_TCP6};
  return open_tcp(host_of(l, loopback), port, &options, loopback, error);
}
