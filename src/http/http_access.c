/* Lines of the request log. Must let no byte of a client through that it does not know to be harmless. */
#include "http/http_access.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The longest escape: two \uHHHH of JSON, for a character beyond U+FFFF. */
#define ESCAPE_MAX 12

#define CUT      "..."
#define CUT_SIZE (sizeof CUT - 1)

/* Writes the first character of a text, escaped where need be. Returns the size of that, and moves *text behind it. */
typedef size_t escaper(char to[ESCAPE_MAX + 1], const char **text, const char *end);

static const char digits[] = "0123456789abcdef";

static bool is_plain(char c) { return c >= ' ' && c < 0x7f && c != '"' && c != '\\'; }

static size_t escape_hex(char to[ESCAPE_MAX + 1], const char **text, const char *end) {
  unsigned char byte = (unsigned char)*(*text)++;
  (void)end;
  to[0] = (char)byte;
  if (is_plain(to[0])) return 1;
  memcpy(to, (const char[]){'\\', 'x', digits[byte >> 4], digits[byte & 15]}, 4);
  return 4;
}

/*
 * Decodes a character of UTF-8 that has more than one byte. Returns how many it has, or 0 when none begins here.
 * Source: RFC 3629, section 4.
 */
static size_t decode(const char *text, const char *end, uint32_t *ret) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  unsigned char first = (unsigned char)*text;
  size_t len = first >= 0xf5 ? 0 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  if (len == 0 || (size_t)(end - text) < len) return 0;
  uint32_t c = first & (0x7fu >> len);
  for (size_t i = 1; i < len; i++) {
    if ((text[i] & 0xc0) != 0x80) return 0;
    c = c << 6 | (text[i] & 0x3f);
  }
  if (c < least[len] || (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff) return 0;
  *ret = c;
  return len;
}

/* A byte that is no UTF-8 becomes the text \xHH: the backslash of that is escaped for JSON. Source: RFC 8259. */
static size_t escape_json(char to[ESCAPE_MAX + 1], const char **text, const char *end) {
  unsigned char byte = (unsigned char)**text;
  uint32_t c;
  size_t len;
  if (is_plain((char)byte)) {
    to[0] = (char)byte;
    (*text)++;
    return 1;
  }
  if (byte >= 0x80) {
    len = decode(*text, end, &c);
    if (len == 0) {
      (*text)++;
      return (size_t)sprintf(to, "\\\\x%02x", byte);
    }
    *text += len;
    if (c < 0x10000) return (size_t)sprintf(to, "\\u%04x", c);
    c -= 0x10000;
    return (size_t)sprintf(to, "\\u%04x\\u%04x", 0xd800 | c >> 10, 0xdc00 | (c & 0x3ff));
  }
  (*text)++;
  if (byte >= ' ' && byte < 0x7f) { /* a quotation mark or a backslash */
    to[0] = '\\';
    to[1] = (char)byte;
    return 2;
  }
  return (size_t)sprintf(to, "\\u%04x", byte);
}

/* Writes a text that is escaped, and cut where that gets longer than the limit. Returns its size. */
static size_t show(char *to, size_t limit, struct mb_span text, escaper *escape) {
  char piece[ESCAPE_MAX + 1];
  const char *at = text.data, *end = text.data + text.size;
  size_t size = 0, fits = 0; /* fits: how much there is when something has to be cut */
  while (at < end) {
    size_t len = escape(piece, &at, end);
    if (size + len > limit) {
      memcpy(to + fits, CUT, CUT_SIZE);
      return fits + CUT_SIZE;
    }
    memcpy(to + size, piece, len);
    size += len;
    if (size <= limit - CUT_SIZE) fits = size;
  }
  return size;
}

void mb_http_access_field(struct mb_span field, size_t limit, char *to) {
  to[field.data ? show(to, limit, field, escape_hex) : 0] = '\0';
}

void mb_http_access_split(struct mb_http_access *a) {
  struct mb_span rest = a->line;
  a->method = a->target = a->protocol = (struct mb_span){NULL, 0};
  if (!rest.data) return;
  struct mb_span parts[3];
  for (int i = 0; i < 3; i++) {
    parts[i] = mb_http_take_until(&rest, ' ');
    if (parts[i].size == 0) return;
    if (rest.size > 0) mb_http_take(&rest, 1);
  }
  if (rest.size > 0 || parts[2].data + parts[2].size != a->line.data + a->line.size) return;
  if (parts[2].size < 5 || memcmp(parts[2].data, "HTTP/", 5) != 0) return;
  if (!mb_http_all(parts[0], MB_HTTP_TOKEN)) return;
  a->method = parts[0];
  a->target = parts[1];
  a->protocol = parts[2];
}

/* ---- the formats ---- */

/* The longest peer, and what the formats have besides the fields: names of JSON, numbers, the time. */
enum { PEER_MAX = 128, OWN_MAX = 300 };
_Static_assert(MB_HTTP_ACCESS_METHOD_MAX + MB_HTTP_ACCESS_TARGET_MAX + MB_HTTP_ACCESS_PROTOCOL_MAX +
                       MB_HTTP_ACCESS_HOST_MAX + MB_HTTP_ACCESS_REFERER_MAX +
                       MB_HTTP_ACCESS_AGENT_MAX + PEER_MAX + OWN_MAX <=
                   MB_HTTP_ACCESS_LINE_MAX,
               "a line has room for all of its fields");

struct line {
  char *to;
  size_t size;
};

/* Adds text of our own, and numbers. The limits of the fields leave room for it. */
__attribute__((format(printf, 2, 3))) static void add(struct line *l, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprintf(l->to + l->size, MB_HTTP_ACCESS_LINE_MAX - l->size, format, args);
  va_end(args);
  if (n > 0) l->size += (size_t)n;
}

static void add_field(struct line *l, struct mb_span field, size_t limit) {
  if (field.size == 0) field = (struct mb_span){"-", 1};
  l->size += show(l->to + l->size, limit, field, escape_hex);
}

static void add_request(struct line *l, const struct mb_http_access *a) {
  if (!a->method.data) {
    add_field(l, a->line, MB_HTTP_ACCESS_TARGET_MAX);
    return;
  }
  add_field(l, a->method, MB_HTTP_ACCESS_METHOD_MAX);
  add(l, " ");
  add_field(l, a->target, MB_HTTP_ACCESS_TARGET_MAX);
}

/*
 * Apache's combined log format (mod_log_config, "%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-agent}i\""),
 * with 0 in place of "-" for no bytes, as nginx has it.
 */
static void write_combined(struct line *l, const struct mb_http_access *a) {
  static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  long zone = a->when.tm_gmtoff / 60;
  add(l, "%s - - [%02d/%.3s/%04d:%02d:%02d:%02d %c%02ld%02ld] \"", a->peer, a->when.tm_mday,
      months + 3 * a->when.tm_mon, a->when.tm_year + 1900, a->when.tm_hour, a->when.tm_min,
      a->when.tm_sec, zone < 0 ? '-' : '+', labs(zone) / 60, labs(zone) % 60);
  add_request(l, a);
  if (a->method.data) {
    add(l, " ");
    add_field(l, a->protocol, MB_HTTP_ACCESS_PROTOCOL_MAX);
  }
  add(l, "\" %d %" PRIu64 " \"", a->status, a->bytes);
  add_field(l, a->referer, MB_HTTP_ACCESS_REFERER_MAX);
  add(l, "\" \"");
  add_field(l, a->agent, MB_HTTP_ACCESS_AGENT_MAX);
  add(l, "\"");
}

static void add_member(struct line *l, const char *name, struct mb_span value, size_t limit) {
  add(l, ",\"%s\":%s", name, value.data ? "\"" : "null");
  if (!value.data) return;
  l->size += show(l->to + l->size, limit, value, escape_json);
  add(l, "\"");
}

static void write_json(struct line *l, const struct mb_http_access *a) {
  long zone = a->when.tm_gmtoff / 60;
  add(l, "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03d%c%02ld:%02ld\",\"peer\":\"%s\",\"port\":",
      a->when.tm_year + 1900, a->when.tm_mon + 1, a->when.tm_mday, a->when.tm_hour, a->when.tm_min,
      a->when.tm_sec, a->msec, zone < 0 ? '-' : '+', labs(zone) / 60, labs(zone) % 60, a->peer);
  if (a->port) {
    add(l, "%u", a->port);
  } else {
    add(l, "null");
  }
  if (!a->method.data && a->line.size > 0)
    add_member(l, "request", a->line, MB_HTTP_ACCESS_TARGET_MAX);
  add_member(l, "method", a->method, MB_HTTP_ACCESS_METHOD_MAX);
  add_member(l, "target", a->target, MB_HTTP_ACCESS_TARGET_MAX);
  add_member(l, "protocol", a->protocol, MB_HTTP_ACCESS_PROTOCOL_MAX);
  add(l,
      ",\"status\":%d,\"bytes\":%" PRIu64 ",\"bytes_in\":%" PRIu64 ",\"duration\":%" PRId64 ".%06d",
      a->status, a->bytes, a->bytes_in, a->usec / 1000000, (int)(a->usec % 1000000));
  add_member(l, "host", a->host, MB_HTTP_ACCESS_HOST_MAX);
  add_member(l, "referer", a->referer, MB_HTTP_ACCESS_REFERER_MAX);
  add_member(l, "user_agent", a->agent, MB_HTTP_ACCESS_AGENT_MAX);
  add(l, "}");
}

/* Time, peer, method, target, status, bytes, milliseconds. The status has a colour: its first digit's. */
static void write_dev(struct line *l, const struct mb_http_access *a) {
  /* By the first digit, the numbers of a terminal's colours: 2 is green, 6 cyan, 3 yellow, 1 red. */
  static const char colours[] = "762631";
  add(l, "%02d:%02d:%02d %s ", a->when.tm_hour, a->when.tm_min, a->when.tm_sec, a->peer);
  add_request(l, a);
  if (a->coloured) {
    add(l, " \x1b[3%cm%d\x1b[0m", colours[a->status / 100 % 6], a->status);
  } else {
    add(l, " %d", a->status);
  }
  add(l, " %" PRIu64 " B %" PRId64 ".%d ms", a->bytes, a->usec / 1000, (int)(a->usec / 100 % 10));
}

size_t mb_http_access_line(enum mb_http_access_format format, const struct mb_http_access *access,
                           char to[MB_HTTP_ACCESS_LINE_MAX]) {
  static void (*const writers[])(struct line *, const struct mb_http_access *) = {
      [MB_HTTP_ACCESS_COMBINED] = write_combined,
      [MB_HTTP_ACCESS_JSON] = write_json,
      [MB_HTTP_ACCESS_DEV] = write_dev,
  };
  struct line line = {to, 0};
  writers[format](&line, access);
  return line.size;
}
