/* Looks over a JSON text. Each byte is looked at once, whatever the text is. */
#include "http/http_json.h"

#include <stdbool.h>
#include <string.h>

#include "http/http_names.h"

/* Digits of the largest number that a double holds: a number with fewer, and without an exponent, is in range. */
#define DIGITS_SAFE 308

static bool is_control(char c) { return (unsigned char)c < 0x20; }

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* Returns where the string that begins at `at`, behind its quote, ends: its quote, a control character, or the end. */
static size_t string_end(struct mb_span text, size_t at) {
  while (at < text.size && text.data[at] != '"' && !is_control(text.data[at])) {
    bool escape = text.data[at] == '\\' && at + 1 < text.size && !is_control(text.data[at + 1]);
    at += escape ? 2 : 1;
  }
  return at;
}

static bool is_number_part(char c) {
  return (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
}

/* Reads a number. Returns whether it may be out of range. */
static bool read_number(struct mb_span text, size_t *at, struct mb_span *ret_part) {
  size_t first = *at;
  while (*at < text.size && is_number_part(text.data[*at])) ++*at;
  *ret_part = (struct mb_span){text.data + first, *at - first};
  return ret_part->size > DIGITS_SAFE || memchr(ret_part->data, 'e', ret_part->size) ||
         memchr(ret_part->data, 'E', ret_part->size);
}

static enum mb_http_json_kind control_at(struct mb_span text, size_t *at,
                                         struct mb_span *ret_part) {
  *ret_part = (struct mb_span){text.data + *at, 1};
  ++*at;
  return MB_HTTP_JSON_CONTROL;
}

enum mb_http_json_kind mb_http_json_next(struct mb_span text, size_t *at,
                                         struct mb_span *ret_part) {
  while (*at < text.size) {
    char c = text.data[*at];
    if (c >= '0' && c <= '9') {
      if (read_number(text, at, ret_part)) return MB_HTTP_JSON_NUMBER;
    } else if (c == '"') {
      size_t first = *at + 1, end = string_end(text, first);
      *at = end;
      if (end == text.size) break; /* no end: the decoder says so */
      if (is_control(text.data[end])) return control_at(text, at, ret_part);
      ++*at;
      if (end - first <= MB_HTTP_NAME_SHORT) continue;
      *ret_part = (struct mb_span){text.data + first, end - first};
      size_t next = *at;
      while (next < text.size && is_blank(text.data[next])) next++;
      return next < text.size && text.data[next] == ':' ? MB_HTTP_JSON_NAME : MB_HTTP_JSON_STRING;
    } else if (is_control(c) && !is_blank(c)) {
      return control_at(text, at, ret_part);
    } else {
      ++*at;
    }
  }
  return MB_HTTP_JSON_NOTHING;
}
