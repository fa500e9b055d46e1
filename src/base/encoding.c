/* Writes bytes as base64 or hexadecimal digits, and reads them strictly. */
#include "base/encoding.h"

#include <stdint.h>

/* ---- base64 ---- */

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static char digit_of(unsigned value, enum mb_base64 kind) {
  if (value < 62) return letters[value];
  return kind == MB_BASE64 ? "+/"[value - 62] : "-_"[value - 62];
}

/* Returns the value of a digit; -1: it is none. */
static int value_of(char c, enum mb_base64 kind) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == (kind == MB_BASE64 ? '+' : '-')) return 62;
  if (c == (kind == MB_BASE64 ? '/' : '_')) return 63;
  return -1;
}

size_t mb_base64_size(size_t len, enum mb_base64 kind) {
  size_t rest = len % 3;
  if (kind == MB_BASE64) return (len / 3 + (rest != 0)) * 4;
  return len / 3 * 4 + (rest ? rest + 1 : 0);
}

void mb_base64_encode(char *to, const void *from, size_t len, enum mb_base64 kind) {
  const unsigned char *in = from;
  for (; len >= 3; len -= 3, in += 3) {
    uint32_t group = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
    for (int shift = 18; shift >= 0; shift -= 6) *to++ = digit_of(group >> shift & 63, kind);
  }
  if (len == 0) return;
  uint32_t group = (uint32_t)in[0] << 16 | (len == 2 ? (uint32_t)in[1] << 8 : 0);
  *to++ = digit_of(group >> 18, kind);
  *to++ = digit_of(group >> 12 & 63, kind);
  if (len == 2) *to++ = digit_of(group >> 6 & 63, kind);
  if (kind == MB_BASE64 && len == 1) *to++ = '=';
  if (kind == MB_BASE64) *to++ = '=';
}

/* Returns the number of digits of a text, which is what stands before at most two signs of filling. */
static size_t count_digits(const char *text, size_t len, enum mb_base64 kind) {
  size_t digits = len;
  if (kind != MB_BASE64) return digits;
  while (digits > 0 && len - digits < 2 && text[digits - 1] == '=') digits--;
  return digits;
}

const char *mb_base64_decode(unsigned char *to, const char *text, size_t len, enum mb_base64 kind,
                             size_t *ret_len, size_t *ret_at) {
  size_t digits = count_digits(text, len, kind);
  unsigned char *out = to;
  uint32_t group = 0; /* of it, the bits that no byte has yet */
  int bits = 0;
  for (size_t i = 0; i < digits; i++) {
    int value = value_of(text[i], kind);
    if (value < 0) {
      *ret_at = i;
      return "a byte that is no digit of it";
    }
    group = group << 6 | (uint32_t)value;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    *out++ = (unsigned char)(group >> bits);
    group &= (1u << bits) - 1;
  }
  *ret_at = digits;
  if (digits % 4 == 1) return "a digit too many, or its end is missing";
  if (len - digits > (4 - digits % 4) % 4) return "= where none belongs";
  *ret_at = len;
  if (kind == MB_BASE64 && len % 4 != 0) return "= is missing at its end";
  *ret_at = digits - 1;
  if (group != 0) return "a last digit with bits that belong to no byte";
  *ret_len = (size_t)(out - to);
  return NULL;
}

/* ---- hexadecimal ---- */

void mb_hex_encode(char *to, const void *from, size_t len) {
  static const char digits[] = "0123456789abcdef";
  const unsigned char *in = from;
  for (size_t i = 0; i < len; i++) {
    *to++ = digits[in[i] >> 4];
    *to++ = digits[in[i] & 15];
  }
}

static int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

const char *mb_hex_decode(unsigned char *to, const char *text, size_t len, size_t *ret_at) {
  for (size_t i = 0; i < len; i++) {
    int value = hex_value(text[i]);
    if (value < 0) {
      *ret_at = i;
      return "a byte that is no digit of it";
    }
    if (i % 2 == 0) {
      if (i + 1 < len) to[i / 2] = (unsigned char)(value << 4);
    } else {
      to[i / 2] = (unsigned char)(to[i / 2] | value);
    }
  }
  *ret_at = len;
  return len % 2 ? "half of a byte at its end" : NULL;
}
