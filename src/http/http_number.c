/* Numbers as text. */
#include "http/http_number.h"

#include <string.h>

size_t mb_http_number(char to[MB_HTTP_NUMBER_MAX], uint64_t number, unsigned base) {
  static const char digits[] = "0123456789abcdef";
  char reversed[MB_HTTP_NUMBER_MAX];
  size_t at = sizeof reversed;
  do {
    reversed[--at] = digits[number % base];
    number /= base;
  } while (number > 0);
  memcpy(to, reversed + at, sizeof reversed - at);
  return sizeof reversed - at;
}

/* Writes CR LF. Returns the length that a text of `len` bytes has then. */
static size_t end_line(char *text, size_t len) {
  text[len] = '\r';
  text[len + 1] = '\n';
  return len + 2;
}

size_t mb_http_chunk_size_line(char to[MB_HTTP_CHUNK_SIZE_MAX], uint64_t size) {
  return end_line(to, mb_http_number(to, size, 16));
}

size_t mb_http_length_line(char to[MB_HTTP_LENGTH_LINE_MAX], uint64_t size) {
  memcpy(to, "Content-Length: ", 16);
  return end_line(to, 16 + mb_http_number(to + 16, size, 10));
}
