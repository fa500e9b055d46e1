/* A stretch of somebody else's bytes, as the HTTP scanners report what they found. */
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
  MB_HTTP_TOKEN = 1,  /* tchar: names of methods, fields, parameters */
  MB_HTTP_VALUE = 2,  /* field-vchar, SP, HTAB: what a field value may hold (obs-text too) */
  MB_HTTP_TARGET = 4, /* what a request target may hold: no control, no space, no '#' */
  MB_HTTP_DIGIT = 8,
  MB_HTTP_HEX = 16,
  MB_HTTP_HOST = 32, /* reg-name or port: unreserved, sub-delims, '%', ':' */
};

extern const unsigned char mb_http_classes[256];

static inline bool mb_http_is(char c, unsigned char class) {
  return mb_http_classes[(unsigned char)c] & class;
}

static inline bool mb_http_is_blank(char c) { return c == ' ' || c == '\t'; }

/* Takes so many bytes, which have to be there, from the front. */
static inline struct mb_span mb_http_take(struct mb_span *from, size_t count) {
  struct mb_span taken = {from->data, count};
  from->data += count;
  from->size -= count;
  return taken;
}

/* Takes what precedes a byte from the front, or everything. */
struct mb_span mb_http_take_until(struct mb_span *from, char wanted);

/* Whether all bytes are of a class; true for none. */
bool mb_http_all(struct mb_span span, unsigned char class);

/* Whether the bytes are the word, which is given in lower case, whatever their case is. */
bool mb_http_equals(struct mb_span span, const char *word);

/* Without spaces and tabs at both ends. */
struct mb_span mb_http_trim(struct mb_span span);

/* The value of a hexadecimal digit, or -1. */
int mb_http_hex(char c);

/*
 * The next element of a comma-separated list (RFC 9110, section 5.6.1), trimmed; a comma within a
 * quoted string is no separator, empty elements are passed over. Takes it from the front of *list.
 * Returns whether there was one.
 */
bool mb_http_list_next(struct mb_span *list, struct mb_span *ret_element);

/* Whether a name and a value may be sent as a header field: NULL, or what is wrong with them. */
const char *mb_http_field_wrong(struct mb_span name, struct mb_span value);

#endif
