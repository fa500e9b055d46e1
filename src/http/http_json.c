/* Looks over a JSON text. Each byte is looked at once, whatever the text is. */
#include "http/http_json.h"

#include <stdbool.h>

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

/* Returns how many digits there are from `at` on. */
static size_t count_digits(struct mb_span text, size_t at) {
  size_t count = 0;
  while (at + count < text.size && mb_http_is(text.data[at + count], MB_HTTP_DIGIT)) count++;
  return count;
}

/* Returns whether it is a number (RFC 8259, section 6), and whether it has an exponent. */
static bool is_number(struct mb_span text, bool *ret_exponent) {
  size_t at = text.size > 0 && text.data[0] == '-', digits = count_digits(text, at);
  if (digits == 0 || (digits > 1 && text.data[at] == '0')) return false;
  at += digits;
  if (at < text.size && text.data[at] == '.') {
    digits = count_digits(text, at + 1);
    if (digits == 0) return false;
    at += 1 + digits;
  }
  *ret_exponent = at < text.size && (text.data[at] == 'e' || text.data[at] == 'E');
  if (*ret_exponent) {
    at++;
    if (at < text.size && (text.data[at] == '+' || text.data[at] == '-')) at++;
    digits = count_digits(text, at);
    if (digits == 0) return false;
    at += digits;
  }
  return at == text.size;
}

/* Reads a number. Returns its kind, or MB_HTTP_JSON_NOTHING for one that needs no look. */
static enum mb_http_json_kind read_number(struct mb_span text, size_t *at,
                                          struct mb_span *ret_part) {
  size_t first = *at;
  bool has_exponent = false;
  while (*at < text.size && is_number_part(text.data[*at])) ++*at;
  *ret_part = (struct mb_span){text.data + first, *at - first};
  if (!is_number(*ret_part, &has_exponent)) return MB_HTTP_JSON_WRONG;
  return has_exponent || ret_part->size > DIGITS_SAFE ? MB_HTTP_JSON_NUMBER : MB_HTTP_JSON_NOTHING;
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
    if (c == '-' || mb_http_is(c, MB_HTTP_DIGIT)) {
      enum mb_http_json_kind kind = read_number(text, at, ret_part);
      if (kind != MB_HTTP_JSON_NOTHING) return kind;
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
