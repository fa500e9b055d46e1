/*
 * src/base/log_escape.c: which characters are shown as they are. Every code point and every sequence of up
 * to three bytes is tried.
 */
#include "base/log_escape.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "../../lib/tap.h"

static const char *shown(const char *text, size_t len) {
  static char to[4096];
  mb_log_escape(to, sizeof to, text, len);
  return to;
}

static void is(const char *text, const char *want, const char *what) {
  tap_str(shown(text, strlen(text)), want, "%s", what);
}

static void texts(void) {
  is("a\nb\r\x1b[1m\x7f\tc", "a\\x0ab\\x0d\\x1b[1m\\x7f\tc", "control characters, but for the tab");
  tap_str(shown("a\0b", 3), "a\\x00b", "a NUL");
  is("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "UTF-8");
  is("\xc2\x9b"
     "1m\xc2\x85",
     "\\xc2\\x9b1m\\xc2\\x85", "C1: CSI and the end of a line");
  is("\x9b \xc3( \xff \xe2\x82", "\\x9b \\xc3( \\xff \\xe2\\x82", "what is no UTF-8");
  is("\xc0\x8a\xe0\x80\x8a\xf0\x80\x80\x8a", "\\xc0\\x8a\\xe0\\x80\\x8a\\xf0\\x80\\x80\\x8a",
     "a line end that is not minimal");
  is("\xe0\x9f\xbf\xe0\xa0\x80", "\\xe0\\x9f\\xbf\xe0\xa0\x80", "the least one of three bytes");
  is("\xf0\x8f\xbf\xbf\xf0\x90\x80\x80", "\\xf0\\x8f\\xbf\\xbf\xf0\x90\x80\x80", "and of four");
  is("\xed\xa0\x80\xed\xbf\xbf\xed\x9f\xbf", "\\xed\\xa0\\x80\\xed\\xbf\\xbf\xed\x9f\xbf",
     "surrogates");
  is("\xf4\x90\x80\x80\xf4\x8f\xbf\xbf\xf5\x80\x80\x80",
     "\\xf4\\x90\\x80\\x80\xf4\x8f\xbf\xbf\\xf5\\x80\\x80\\x80", "beyond U+10FFFF");
  is("\xe2\x80\xae"
     "txt.exe\xe2\x81\xa6\xd8\x9c\xe2\x80\x8f",
     "\\xe2\\x80\\xaetxt.exe\\xe2\\x81\\xa6\\xd8\\x9c\\xe2\\x80\\x8f", "the direction of writing");
  is("\xe2\x80\xa8\xe2\x80\xa9", "\\xe2\\x80\\xa8\\xe2\\x80\\xa9",
     "the ends of lines and paragraphs");
  is("\xe2\x80\x8d\xd7\x90\xd8\xa7", "\xe2\x80\x8d\xd7\x90\xd8\xa7",
     "letters that are written from the right");
}

/* ---- all of them ---- */

/* Encodes a code point in UTF-8, by the table of RFC 3629, section 3; surrogates too. */
static size_t encode(uint32_t c, char to[4]) {
  if (c < 0x80) {
    to[0] = (char)c;
    return 1;
  }
  size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (size_t i = len - 1; i > 0; i--, c >>= 6) to[i] = (char)(0x80 | (c & 0x3f));
  to[0] = (char)((0xff00 >> len) | c);
  return len;
}

static bool is_control(uint32_t c) {
  static const uint32_t ranges[][2] = {{0, 8},           {0xa, 0x1f},      {0x7f, 0x9f},
                                       {0x61c, 0x61c},   {0x200e, 0x200f}, {0x2028, 0x202e},
                                       {0x2066, 0x2069}, {0xd800, 0xdfff}, {0x110000, 0x1fffff}};
  for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
    if (c >= ranges[i][0] && c <= ranges[i][1]) return true;
  }
  return false;
}

static void code_points(void) {
  unsigned wrong = 0;
  for (uint32_t c = 0, step = tap_step(97); c <= 0x1fffff; c += step) {
    char bytes[5] = "", want[17];
    size_t len = encode(c, bytes);
    if (is_control(c)) {
      for (size_t i = 0; i < len; i++) sprintf(want + 4 * i, "\\x%02x", (unsigned char)bytes[i]);
    } else {
      memcpy(want, bytes, len + 1);
    }
    if (strcmp(shown(bytes, len), want) != 0 && wrong++ == 0)
      tap_str(shown(bytes, len), want, "U+%04X", c);
  }
  tap_int(wrong, 0, "each code point");
}

/* Returns whether a text has only bytes that a code point of two or three bytes, or ASCII, can have. */
static bool is_clean(const char *text) {
  const unsigned char *p = (const unsigned char *)text;
  char again[4];
  while (*p) {
    uint32_t c = *p;
    size_t len = c < 0x80 ? 1 : c < 0xe0 ? 2 : 3;
    if (len == 2) c = (c & 0x1f) << 6 | (p[1] & 0x3f);
    if (len == 3) c = (c & 0xf) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3f);
    if (is_control(c) || encode(c, again) != len || memcmp(again, p, len) != 0) return false;
    p += len;
  }
  return true;
}

static void sequences(void) {
  unsigned wrong = 0;
  for (uint32_t n = 0, step = tap_step(997); n <= 0xffffff; n += step) {
    const char bytes[3] = {(char)(n >> 16), (char)(n >> 8), (char)n};
    if (!is_clean(shown(bytes, 3))) wrong++;
  }
  tap_int(wrong, 0, "whatever three bytes there are, what is shown is UTF-8 without controls");
}

/* ---- limits of room ---- */

static void room(void) {
  char to[16];
  memset(to, '#', sizeof to);
  mb_log_escape(to, 5, "abc\n", 4);
  tap_str(to, "abc", "what does not fit is left out whole");
  tap_int(to[5], '#', "nothing behind the end is touched");
  mb_log_escape(to, 4, "a\xe2\x82\xac", 4);
  tap_str(to, "a", "so is a character");
  mb_log_escape(to, 8, "\xe2\x80\xae", 3);
  tap_str(to, "", "and one that is escaped");
  const char *text = "ab\ncd", *begin = text;
  tap_int((int)mb_log_show(to, 6, &text, text + 5), 6, "it goes on");
  tap_int(text - begin, 3, "where it stopped");
}

static void unfinished(void) {
  static const struct {
    const char *text;
    size_t want;
  } cases[] = {
      {"", 0},
      {"a", 0},
      {"\xc3", 1},
      {"\xc3\xa4", 0},
      {"\xe2\x82", 2},
      {"\xe2\x82\xac", 0},
      {"a\xf0\x9f\x98", 3},
      {"\xf0\x9f\x98\x80", 0},
      {"\xf0", 1},
      {"\x80\x80\x80", 0},
      {"\xff", 0},
      {"\xc3\x80\x80", 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    size_t len = strlen(cases[i].text);
    tap_int((int)mb_log_unfinished(cases[i].text, len), (int)cases[i].want, "unfinished: %s",
            tap_printable(cases[i].text, len));
  }
}

int main(void) {
  texts();
  code_points();
  sequences();
  room();
  unfinished();
  return tap_done();
}
