/* See head_reference.h. Shares no code with src/: not even the character classes. */
#include "head_reference.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ALNUM "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define TOKEN ALNUM "!#$%&'*+-.^_`|~"
#define DIGIT "0123456789"
#define HOST  ALNUM "-._~!$&'()*+,;="

struct list {
  struct mb_span items[FUZZ_INPUT_MAX + 1]; /* of commas alone */
  size_t count;
};

/* The sum of what all fields say. Conclusions are drawn at the end only. */
struct sums {
  unsigned fields, hosts, lengths, codings, chunked, types;
  bool close, keepalive, expects;
  struct mb_span host;
};

static void fault(struct head_reference *r, int status) {
  if (!head_reference_deserves(r, status)) r->faults[r->fault_count++] = status;
}

bool head_reference_deserves(const struct head_reference *r, int status) {
  for (unsigned i = 0; i < r->fault_count; i++) {
    if (r->faults[i] == status) return true;
  }
  return false;
}

static bool only(struct mb_span span, const char *set) {
  for (size_t i = 0; i < span.size; i++) {
    if (!span.data[i] || !strchr(set, span.data[i])) return false;
  }
  return true;
}

/* Returns whether a Content-Type has a comma before its parameters. */
static bool is_list_of_types(struct mb_span value) {
  for (size_t i = 0; i < value.size && value.data[i] != ';'; i++) {
    if (value.data[i] == ',') return true;
  }
  return false;
}

static bool is(struct mb_span span, const char *word) {
  return span.size == strlen(word) && strncasecmp(span.data, word, span.size) == 0;
}

static struct mb_span trimmed(struct mb_span span) {
  while (span.size > 0 && strchr(" \t", span.data[0])) span.data++, span.size--;
  while (span.size > 0 && strchr(" \t", span.data[span.size - 1])) span.size--;
  return span;
}

bool head_reference_line(struct mb_span *rest, struct mb_span *ret_line) {
  if (rest->size == 0) return false;
  *ret_line = fuzz_take_line(rest);
  size_t size = ret_line->size;
  if (size > 0 && ret_line->data[size - 1] == '\r') ret_line->size--;
  return true;
}

/* Splits a list at its commas, and trims the elements. quotes: a quoted string is not split. */
static void split_list(struct mb_span value, bool quotes, struct list *ret) {
  size_t start = 0;
  bool quoted = false, escaped = false;
  ret->count = 0;
  for (size_t i = 0; i <= value.size; i++) {
    char c = i < value.size ? value.data[i] : ',';
    if (i < value.size && quotes) {
      bool was_escaped = escaped;
      escaped = quoted && !was_escaped && c == '\\';
      if (c == '"' && !was_escaped) quoted = !quoted;
      if (quoted || c == '"') continue;
    }
    if (c != ',') continue;
    if (ret->count == sizeof ret->items / sizeof *ret->items) abort();
    ret->items[ret->count++] = trimmed((struct mb_span){value.data + start, i - start});
    start = i + 1;
  }
}

/* ---- request line ---- */

static bool host_is_good(struct mb_span host) {
  char text[FUZZ_INPUT_MAX + 1], *port;
  unsigned char address[16];
  if (memchr(host.data, '\0', host.size)) return false;
  memcpy(text, host.data, host.size);
  text[host.size] = '\0';
  if (text[0] == '[') {
    char *end = strchr(text, ']');
    if (!end || (end[1] != '\0' && end[1] != ':')) return false;
    port = end[1] == ':' ? end + 2 : NULL;
    *end = '\0';
    size_t digits = strcspn(text, ".") - 2;
    bool future = strspn(text + 1, "vV") == 1 && text[2 + digits] == '.' && digits > 0 &&
                  strspn(text + 2, "0123456789abcdefABCDEF") == digits && text[3 + digits] &&
                  text[3 + digits + strspn(text + 3 + digits, HOST ":")] == '\0';
    if (!future && inet_pton(AF_INET6, text + 1, address) != 1) return false;
  } else {
    port = strchr(text, ':');
    if (port) *port++ = '\0';
    if (text[0] == '.' || strstr(text, "..") || (port && text[0] == '\0')) return false;
    for (size_t i = 0; text[i]; i++) {
      if (text[i] == '%') {
        if (strspn(text + i + 1, "0123456789abcdefABCDEF") < 2) return false;
      } else if (!strchr(HOST, text[i])) {
        return false;
      }
    }
  }
  if (!port) return true;
  return strlen(port) <= 5 && strspn(port, DIGIT) == strlen(port) && atoi(port) <= 65535;
}

static void split_path(struct mb_span span, struct head_reference *r) {
  const char *mark = span.size > 0 ? memchr(span.data, '?', span.size) : NULL;
  size_t size = mark ? (size_t)(mark - span.data) : span.size;
  for (size_t i = 0; i < size; i++) {
    char c = span.data[i];
    struct mb_span digits = {span.data + i + 1, 2};
    if (c && strchr("\\^`{|}", c)) fault(r, 400);
    if (c == '%' && (size - i < 3 || !only(digits, DIGIT "abcdefABCDEF"))) fault(r, 400);
  }
  r->path = (struct mb_span){span.data, size};
  r->query = (struct mb_span){span.data + size, span.size - size};
}

static void read_target(struct head_reference *r) {
  struct mb_span t = r->target;
  for (size_t i = 0; i < t.size; i++) {
    unsigned char c = (unsigned char)t.data[i];
    if (c <= ' ' || c >= 0x7f || strchr("#\"<>", c)) fault(r, 400);
  }
  if (is(t, "*")) {
    if (!fuzz_same(r->method, (struct mb_span){"OPTIONS", 7})) fault(r, 400);
    return;
  }
  if (t.data[0] == '/') {
    split_path(t, r);
    return;
  }
  size_t scheme = strncasecmp(t.data, "http://", t.size < 7 ? t.size : 7) == 0 ? 7 : 8;
  if (t.size < scheme || (scheme == 8 && strncasecmp(t.data, "https://", 8) != 0)) {
    fault(r, 400);
    return;
  }
  size_t size = scheme;
  while (size < t.size && t.data[size] != '/' && t.data[size] != '?') size++;
  r->host = (struct mb_span){t.data + scheme, size - scheme};
  /* An http URL names a host (RFC 9110, section 4.2.1). */
  if (r->host.size == 0 || r->host.data[0] == ':' || !host_is_good(r->host)) fault(r, 400);
  split_path((struct mb_span){t.data + size, t.size - size}, r);
  if (r->path.size == 0) r->path = (struct mb_span){"/", 1};
}

/* Returns the major version, or -1. */
static int read_version(struct mb_span version, int *ret_minor) {
  const char *v = version.data;
  if (version.size != 8 || strncmp(v, "HTTP/", 5) != 0 || v[6] != '.') return -1;
  if (!only((struct mb_span){v + 5, 1}, DIGIT) || !only((struct mb_span){v + 7, 1}, DIGIT)) {
    return -1;
  }
  *ret_minor = v[7] == '0' ? 0 : 1;
  return v[5] - '0';
}

static void read_request_line(struct mb_span line, struct head_reference *r) {
  const char *first = memchr(line.data, ' ', line.size);
  const char *end = line.data + line.size;
  const char *second = first ? memchr(first + 1, ' ', (size_t)(end - first - 1)) : NULL;
  if (!second || second == first + 1) {
    fault(r, 400);
    return;
  }
  r->method = (struct mb_span){line.data, (size_t)(first - line.data)};
  r->target = (struct mb_span){first + 1, (size_t)(second - first - 1)};
  if (r->method.size == 0 || !only(r->method, TOKEN)) fault(r, 400);
  if (fuzz_same(r->method, (struct mb_span){"CONNECT", 7})) fault(r, 501);
  int major = read_version((struct mb_span){second + 1, (size_t)(end - second - 1)}, &r->minor);
  if (major != 1) fault(r, major < 0 ? 400 : 505);
  read_target(r);
}

/* ---- fields ---- */

static void read_length(struct mb_span value, struct head_reference *r, struct sums *s) {
  static struct list list;
  split_list(value, false, &list);
  for (size_t i = 0; i < list.count; i++) {
    struct mb_span item = list.items[i];
    if (item.size == 0 || !only(item, DIGIT)) {
      fault(r, 400);
      continue;
    }
    while (item.size > 1 && item.data[0] == '0') item.data++, item.size--;
    /* Without leading zeros, a number is larger if it has more digits, or sorts later as a text. */
    static const char largest[] = "9223372036854775807";
    if (item.size > 19 || (item.size == 19 && strncmp(item.data, largest, 19) > 0)) {
      fault(r, 400);
      continue;
    }
    char text[20] = "";
    memcpy(text, item.data, item.size);
    uint64_t length = strtoull(text, NULL, 10);
    if (s->lengths++ > 0 && length != r->length) fault(r, 400);
    r->length = length;
  }
}

static void read_coding(struct mb_span value, struct head_reference *r, struct sums *s) {
  static struct list list;
  split_list(value, false, &list);
  for (size_t i = 0; i < list.count; i++) {
    struct mb_span item = list.items[i], name = item;
    name.size = 0;
    while (name.size < item.size && only((struct mb_span){item.data + name.size, 1}, TOKEN)) {
      name.size++;
    }
    if (s->chunked > 0 || name.size == 0 || (is(name, "chunked") && name.size < item.size)) {
      fault(r, 400);
    }
    if (is(item, "chunked")) s->chunked++;
    if (name.size > 0 && !is(name, "chunked")) fault(r, 501);
  }
  s->codings++;
}

static void read_field(struct mb_span line, struct head_reference *r, struct sums *s) {
  static struct list list;
  const char *colon = memchr(line.data, ':', line.size);
  if (!colon) {
    fault(r, 400);
    return;
  }
  struct mb_span name = {line.data, (size_t)(colon - line.data)};
  struct mb_span value = trimmed((struct mb_span){colon + 1, line.size - name.size - 1});
  if (name.size == 0 || !only(name, TOKEN)) fault(r, 400);
  if (is(name, "host")) {
    s->hosts++;
    s->host = value;
    if (!host_is_good(value)) fault(r, 400);
  } else if (is(name, "content-length")) {
    read_length(value, r, s);
  } else if (is(name, "transfer-encoding")) {
    read_coding(value, r, s);
  } else if (is(name, "connection")) {
    split_list(value, true, &list);
    for (size_t i = 0; i < list.count; i++) {
      if (is(list.items[i], "close")) s->close = true;
      if (is(list.items[i], "keep-alive")) s->keepalive = true;
      if (!only(list.items[i], TOKEN)) r->may_refuse = true;
    }
  } else if (is(name, "content-type")) {
    s->types += is_list_of_types(value) ? 2 : 1;
  } else if (is(name, "expect") && r->minor > 0) {
    split_list(value, true, &list);
    for (size_t i = 0; i < list.count; i++) {
      if (is(list.items[i], "100-continue")) {
        s->expects = true;
      } else if (list.items[i].size > 0) {
        fault(r, 417);
      }
    }
  }
}

static void conclude(struct head_reference *r, const struct sums *s) {
  if (s->fields > MB_HTTP_FIELDS_MAX) fault(r, 431);
  if (s->hosts > 1 || (s->hosts == 0 && r->minor > 0)) fault(r, 400);
  if (s->types > 1) fault(r, 400);
  if (s->lengths > 0 && s->codings > 0) fault(r, 400);
  if (s->codings > 0 && r->minor == 0) fault(r, 400);
  if (!r->host.data) r->host = s->host;
  r->framing = s->codings > 0 ? MB_HTTP_CHUNKED : s->lengths > 0 ? MB_HTTP_LENGTH : MB_HTTP_NO_BODY;
  r->keepalive = r->minor > 0 ? !s->close : s->keepalive && !s->close;
  /* A client that has no content to send does not wait for a 100 (Continue). */
  r->expects = s->expects && (s->codings > 0 || r->length > 0);
}

void head_reference_read(struct mb_span head, struct head_reference *ret) {
  struct sums sums = {0};
  struct mb_span line;
  *ret = (struct head_reference){0};
  while (head_reference_line(&head, &line) && line.size == 0) continue;
  read_request_line(line, ret);
  do {
    for (size_t i = 0; i < line.size; i++) {
      unsigned char c = (unsigned char)line.data[i];
      if ((c < ' ' && c != '\t') || c == 0x7f) fault(ret, 400);
    }
    if (!head_reference_line(&head, &line) || line.size == 0) break;
    sums.fields++;
    read_field(line, ret, &sums);
  } while (true);
  conclude(ret, &sums);
}
