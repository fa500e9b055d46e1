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

static bool name_valid(struct mb_span name) {
  if (!mb_http_all(name, MB_HTTP_HOST)) return false;
  for (size_t i = 0; i < name.size; i++) {
    if (name.data[i] != '%') continue;
    if (name.size - i < 3 || !mb_http_all((struct mb_span){name.data + i + 1, 2}, MB_HTTP_HEX)) {
      return false;
    }
  }
  return true;
}

bool mb_http_host_valid(struct mb_span host) {
  struct mb_span rest;
  if (host.size > 0 && host.data[0] == '[') {
    const char *end = memchr(host.data, ']', host.size);
    if (!end) return false;
    size_t size = (size_t)(end - host.data);
    if (!ip6_valid((struct mb_span){host.data + 1, size - 1})) return false;
    rest = tail(host, size + 1);
  } else {
    size_t size = before(host, ':', ':');
    if (!name_valid((struct mb_span){host.data, size})) return false;
    rest = tail(host, size);
  }
  return rest.size == 0 || (rest.data[0] == ':' && port_valid(tail(rest, 1)));
}

static void split_query(struct mb_http_head *head, struct mb_span span) {
  size_t size = before(span, '?', '?');
  head->path = (struct mb_span){span.data, size};
  head->query = tail(span, size);
}

/* Takes a target apart that is in absolute form; `rest` stands behind its "http://" or "https://". */
static const char *split_absolute(struct mb_http_head *head, struct mb_span rest) {
  struct mb_span host = {rest.data, before(rest, '/', '?')};
  if (memchr(host.data, '@', host.size)) return "user name in the request target";
  if (host.size == 0 || host.data[0] == ':' || !mb_http_host_valid(host)) {
    return "bad host in the request target";
  }
  head->host = host;
  split_query(head, tail(rest, host.size));
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
    split_query(head, target);
    return NULL;
  }
  static const char *const schemes[] = {"http://", "https://"};
  for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
    size_t size = strlen(schemes[i]);
    if (target.size < size) continue;
    if (mb_http_equals((struct mb_span){target.data, size}, schemes[i])) {
      return split_absolute(head, tail(target, size));
    }
  }
  return "request target that is neither a path nor an http URL";
}
