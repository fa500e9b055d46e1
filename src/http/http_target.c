/* Reads the request target and the host. A host that can be read in two ways is not valid. */
#include "http/http_target.h"

#include <arpa/inet.h>
#include <string.h>

#define PORT_DIGITS_MAX 5

static struct mb_span tail(struct mb_span span, size_t from) {
  return (struct mb_span){span.data + from, span.size - from};
}

/* Returns the size of the stretch before the first of the two bytes; the whole size when there is none. */
static size_t before(struct mb_span span, char either, char other) {
  size_t i = 0;
  while (i < span.size && span.data[i] != either && span.data[i] != other) i++;
  return i;
}

static bool port_valid(struct mb_span port) {
  if (port.size > PORT_DIGITS_MAX || !mb_http_all(port, MB_HTTP_DIGIT)) return false;
  unsigned number = 0;
  for (size_t i = 0; i < port.size; i++) number = number * 10 + (unsigned)(port.data[i] - '0');
  return number <= 65535;
}

/* Returns whether it is an IPv6 address, given without its brackets. */
static bool ip6_valid(struct mb_span address) {
  char text[INET6_ADDRSTRLEN];
  struct in6_addr ip6;
  if (address.size >= sizeof text || !mb_http_all(address, MB_HTTP_HOST)) return false;
  memcpy(text, address.data, address.size);
  text[address.size] = '\0';
  return inet_pton(AF_INET6, text, &ip6) == 1;
}

/*
 * Returns whether it is an address of a future version, given without its brackets (RFC 3986, section
 * 3.2.2): "v", hexadecimal digits, a dot, and more.
 */
static bool ip_future_valid(struct mb_span address) {
  if (address.size == 0 || (address.data[0] != 'v' && address.data[0] != 'V')) return false;
  size_t dot = before(address, '.', '.');
  struct mb_span version = {address.data + 1, dot - 1};
  if (dot < 2 || address.size - dot < 2 || !mb_http_all(version, MB_HTTP_HEX)) return false;
  return mb_http_all(tail(address, dot + 1), MB_HTTP_HOST) &&
         !memchr(address.data, '%', address.size);
}

/* Returns whether the '%' at this place has two hexadecimal digits behind it. */
static bool is_escape(struct mb_span text, size_t at) {
  return text.size - at >= 3 && mb_http_all((struct mb_span){text.data + at + 1, 2}, MB_HTTP_HEX);
}

/*
 * Returns whether it is a name. A label of it must not be empty, unless it is the last one: the names "." and
 * ".." are no hosts, and who makes a path of them leaves a directory.
 */
static bool name_valid(struct mb_span name) {
  if (!mb_http_all(name, MB_HTTP_HOST)) return false;
  char last = '.';
  for (size_t i = 0; i < name.size; i++) {
    if (name.data[i] == '%' && !is_escape(name, i)) return false;
    if (name.data[i] == '.' && last == '.') return false;
    last = name.data[i];
  }
  return true;
}

bool mb_http_host_valid(struct mb_span host) {
  struct mb_span rest;
  if (host.size > 0 && host.data[0] == '[') {
    const char *end = memchr(host.data, ']', host.size);
    if (!end) return false;
    size_t size = (size_t)(end - host.data);
    struct mb_span address = {host.data + 1, size - 1};
    if (!ip6_valid(address) && !ip_future_valid(address)) return false;
    rest = tail(host, size + 1);
  } else {
    size_t size = before(host, ':', ':');
    if (size == 0) return host.size == 0; /* there is no port without a host */
    if (!name_valid((struct mb_span){host.data, size})) return false;
    rest = tail(host, size);
  }
  return rest.size == 0 || (rest.data[0] == ':' && port_valid(tail(rest, 1)));
}

/*
 * Splits the path from the query, and checks the path (RFC 3986, section 3.3). A query may hold all that
 * browsers send in one. Returns NULL or what is wrong.
 */
static const char *split_query(struct mb_http_head *head, struct mb_span span) {
  size_t size = 0;
  for (;;) {
    while (size < span.size && mb_http_is(span.data[size], MB_HTTP_PATH)) size++;
    if (size == span.size || span.data[size] == '?') break;
    if (span.data[size] != '%') return "bad character in the path of the request target";
    if (!is_escape(span, size)) return "\"%\" without two hexadecimal digits in the request target";
    size += 3;
  }
  head->path = (struct mb_span){span.data, size};
  head->query = tail(span, size);
  return NULL;
}

/* Takes a target apart that is in absolute form; `rest` stands behind its "http://" or "https://". */
static const char *split_absolute(struct mb_http_head *head, struct mb_span rest) {
  struct mb_span host = {rest.data, before(rest, '/', '?')};
  if (memchr(host.data, '@', host.size)) return "user name in the request target";
  if (host.size == 0 || !mb_http_host_valid(host)) {
    return "bad host in the request target";
  }
  const char *why = split_query(head, tail(rest, host.size));
  if (why) return why;
  head->host = host;
  /* An empty path means "/". The nearest slash in memory is the one before the host. */
  if (head->path.size == 0) head->path = (struct mb_span){rest.data - 1, 1};
  return NULL;
}

const char *mb_http_target_split(struct mb_http_head *head) {
  struct mb_span target = head->target;
  if (target.size == 1 && target.data[0] == '*') {
    if (head->method.size != 7 || memcmp(head->method.data, "OPTIONS", 7) != 0) {
      return "request target \"*\" without OPTIONS";
    }
    head->path = head->query = (struct mb_span){NULL, 0};
    return NULL;
  }
  if (target.size > 0 && target.data[0] == '/') {
    return split_query(head, target);
  }
  static const char *const schemes[] = {"http://", "https://"};
  for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
    size_t size = strlen(schemes[i]);
    if (target.size < size) continue;
    if (mb_http_equals((struct mb_span){target.data, size}, schemes[i])) {
      head->secure = i > 0;
      return split_absolute(head, tail(target, size));
    }
  }
  return "request target that is neither a path nor an http URL";
}
