/* How the log shows a text. Must let no byte through that it does not know to be harmless. */
#include "base/log_escape.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ESCAPED_BYTES 4 /* \xNN */
#define CHARACTER_MAX 4

/* Returns how many bytes a character has, by its first one; 0 when no character begins so. */
static size_t length(unsigned char first) {
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0; /* 0xc0 and 0xc1 begin what is not minimal */
  return first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
}

/* Decodes a character of UTF-8. Returns how many bytes it has, or 0. Source: RFC 3629, section 4. */
static size_t decode(const char *text, const char *end, uint32_t *ret) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  unsigned char first = (unsigned char)*text;
  size_t len = length(first);
  if (len == 0 || (size_t)(end - text) < len) return 0;
  uint32_t c = len == 1 ? first : first & (0x7fu >> len);
  for (size_t i = 1; i < len; i++) {
    if ((text[i] & 0xc0) != 0x80) return 0;
    c = c << 6 | (text[i] & 0x3f);
  }
  if (c < least[len] || (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff) return 0;
  *ret = c;
  return len;
}

static bool is_harmless(uint32_t c) {
  if (c < 0xa0) return (c >= ' ' && c < 0x7f) || c == '\t'; /* the rest is C0, DEL and C1 */
  bool directs = c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) ||
                 (c >= 0x2066 && c <= 0x2069); /* Bidi_Control of Unicode */
  bool ends_line = c == 0x2028 || c == 0x2029;
  return !directs && !ends_line;
}

size_t mb_log_show(char *to, size_t room, const char **text, const char *end) {
  static const char digits[] = "0123456789abcdef";
  size_t at = 0;
  while (*text < end) {
    uint32_t c;
    size_t len = decode(*text, end, &c);
    if (len > 0 && is_harmless(c)) {
      if (room - at < len) break;
      memcpy(to + at, *text, len);
      at += len;
      *text += len;
      continue;
    }
    if (len == 0) len = 1;
    if (room - at < len * ESCAPED_BYTES) break;
    for (; len > 0; len--) {
      unsigned char byte = (unsigned char)*(*text)++;
      const char shown[ESCAPED_BYTES] = {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
      memcpy(to + at, shown, sizeof shown);
      at += sizeof shown;
    }
  }
  return at;
}

void mb_log_escape(char *to, size_t size, const char *text, size_t len) {
  to[mb_log_show(to, size - 1, &text, text + len)] = '\0';
}

size_t mb_log_unfinished(const char *text, size_t len) {
  for (size_t n = 1; n < CHARACTER_MAX && n <= len; n++) {
    unsigned char byte = (unsigned char)text[len - n];
    if ((byte & 0xc0) != 0x80) return length(byte) > n ? n : 0;
  }
  return 0;
}
