/* A span is a stretch of somebody else's bytes. The HTTP scanners report in spans what they found. */
#ifndef MB_HTTP_SPAN_H
#define MB_HTTP_SPAN_H

#include <stdbool.h>
#include <stddef.h>

struct mb_span {
  const char *data;
  size_t size;
};

/* Character classes of RFC 9110, section 5.6. */
enum mb_http_class {
  MB_HTTP_TOKEN = 1, /* tchar: names of methods, fields, parameters */
  MB_HTTP_VALUE = 2, /* field-vchar, SP, HTAB: what a field value may hold (obs-text too) */
  /*
   * What a request target may hold: what RFC 3986 has in a URI, and [ \ ] ^ ` { | }, which browsers send as
   * they are in a query (URL standard, query percent-encode set).
   */
  MB_HTTP_TARGET = 4,
  MB_HTTP_DIGIT = 8,
  MB_HTTP_HEX = 16,
  MB_HTTP_HOST = 32, /* reg-name or port: unreserved, sub-delims, '%', ':' */
  MB_HTTP_PATH =
      64, /* a path, without its escapes: unreserved, sub-delims, ':', '@', '/', '[', ']' */
};

extern const unsigned char mb_http_classes[256];

static inline bool mb_http_is(char c, unsigned char class) {
  return mb_http_classes[(unsigned char)c] & class;
}

static inline bool mb_http_is_blank(char c) { return c == ' ' || c == '\t'; }

/* Takes `count` bytes, which have to be there, from the front. */
static inline struct mb_span mb_http_take(struct mb_span *from, size_t count) {
  struct mb_span taken = {from->data, count};
  from->data += count;
  from->size -= count;
  return taken;
}

/* Takes the bytes before the first `wanted` from the front; all bytes when there is none. */
struct mb_span mb_http_take_until(struct mb_span *from, char wanted);

/* Returns whether all bytes are of a class; true for an empty span. */
bool mb_http_all(struct mb_span span, unsigned char class);

/* Returns whether the bytes, in any case, are the word. The word is given in lower case. */
bool mb_http_equals(struct mb_span span, const char *word);

/* Returns the span without spaces and tabs at both ends. */
struct mb_span mb_http_trim(struct mb_span span);

/* Returns the value of a hexadecimal digit, or -1. */
int mb_http_hex(char c);

/*
 * Takes the next element, trimmed, from the front of a comma-separated list (RFC 9110, section 5.6.1). A
 * comma within a quoted string is no separator. Passes over empty elements.
 * Returns whether there was one.
 */
bool mb_http_list_next(struct mb_span *list, struct mb_span *ret_element);

/* Checks that a name and a value may be sent as a header field. Returns NULL, or what is wrong. */
const char *mb_http_field_wrong(struct mb_span name, struct mb_span value);

#endif
