/* src/http/utf8_check.c: the kinds of Markus Kuhn's test of decoders, at every split point; beside a naive decoder. */
#include "http/utf8_check.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/tap.h"

enum verdict { WRONG, CUT, WHOLE };

static enum verdict verdict(const struct mb_utf8 *state, bool good) {
  return !good ? WRONG : mb_utf8_is_whole(state) ? WHOLE : CUT;
}

/* Takes bytes from memory of exactly their size. */
static bool take(struct mb_utf8 *state, const char *data, size_t size) {
  char *copy = malloc(size > 0 ? size : 1);
  if (!copy) tap_bail("no memory");
  if (size > 0) memcpy(copy, data, size);
  bool good = mb_utf8_take(state, copy, size);
  free(copy);
  return good;
}

static enum verdict at_once(const char *data, size_t size) {
  struct mb_utf8 state = {0};
  bool good = take(&state, data, size);
  return verdict(&state, good);
}

/* Returns whether it comes to the same at every split point, and byte by byte. */
static bool splits_agree(const char *data, size_t size, enum verdict want) {
  for (size_t split = 0; split <= size; split++) {
    struct mb_utf8 state = {0};
    bool good = take(&state, data, split) && take(&state, data + split, size - split);
    if (verdict(&state, good) != want) return false;
  }
  struct mb_utf8 state = {0};
  bool good = true;
  for (size_t i = 0; i < size && good; i++) good = take(&state, data + i, 1) && take(&state, "", 0);
  return verdict(&state, good) == want;
}

/*
 * The naive decoder makes a number of the bits, and looks at it. A cut character is CUT only if some bytes would make
 * it good, which it finds out by trying all that can follow.
 */
static bool number_is_good(uint32_t number, int more) {
  static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
  return number >= least[more] && number <= 0x10ffff && !(number >= 0xd800 && number <= 0xdfff);
}

static enum verdict naive(const char *data, size_t size) {
  const unsigned char *bytes = (const unsigned char *)data;
  for (size_t i = 0; i < size;) {
    unsigned char c = bytes[i++];
    int more = c < 0x80 ? 0 : c < 0xc0 ? -1 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : c < 0xf8 ? 3 : -1;
    if (more < 0) return WRONG;
    if (more == 0) continue;
    uint32_t number = c & (0x3fu >> more);
    int left = more;
    while (left > 0 && i < size) {
      if ((bytes[i] & 0xc0) != 0x80) return WRONG;
      number = number << 6 | (bytes[i++] & 0x3f);
      left--;
    }
    if (left == 0) {
      if (!number_is_good(number, more)) return WRONG;
      continue;
    }
    uint32_t tails = 1u << (6 * left);
    for (uint32_t tail = 0; tail < tails; tail++) {
      if (number_is_good(number << (6 * left) | tail, more)) return CUT;
    }
    return WRONG;
  }
  return WHOLE;
}

#define S(text) text, sizeof text - 1

static void kinds(void) {
  static const struct {
    const char *what, *data;
    size_t size;
    enum verdict want;
  } cases[] = {
      {"nothing", S(""), WHOLE},
      {"1: correct text", S("\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"), WHOLE},
      {"NUL", S("\0"), WHOLE},
      {"2.1: first of each length", S("\xc2\x80\xe0\xa0\x80\xf0\x90\x80\x80"), WHOLE},
      {"2.1.5: U+200000", S("\xf8\x88\x80\x80\x80"), WRONG},
      {"2.1.6: U+4000000", S("\xfc\x84\x80\x80\x80\x80"), WRONG},
      {"2.2: last of each length", S("\x7f\xdf\xbf\xef\xbf\xbf"), WHOLE},
      {"2.2.4: U+1FFFFF", S("\xf7\xbf\xbf\xbf"), WRONG},
      {"2.3: around the surrogates", S("\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbd"), WHOLE},
      {"2.3.4: U+10FFFF", S("\xf4\x8f\xbf\xbf"), WHOLE},
      {"2.3.5: U+110000", S("\xf4\x90\x80\x80"), WRONG},
      {"3.1.1: first continuation byte", S("\x80"), WRONG},
      {"3.1.2: last continuation byte", S("\xbf"), WRONG},
      {"3.1: continuation after a character", S("a\x80"), WRONG},
      {"3.2.1: a lonely start of two", S("\xc3 "), WRONG},
      {"3.2.2: a lonely start of three", S("\xe1 "), WRONG},
      {"3.2.3: a lonely start of four", S("\xf1 "), WRONG},
      {"3.3.1: the last byte of two is missing", S("\xc3"), CUT},
      {"3.3.2: of three", S("\xe2\x82"), CUT},
      {"3.3.3: of four", S("\xf0\x9f\x98"), CUT},
      {"3.3: of three, behind a start", S("\xe2\x82\xc3"), WRONG},
      {"3.5.1: fe", S("\xfe"), WRONG},
      {"3.5.2: ff", S("\xff"), WRONG},
      {"4.1.1: a slash in two bytes", S("\xc0\xaf"), WRONG},
      {"4.1.2: in three", S("\xe0\x80\xaf"), WRONG},
      {"4.1.3: in four", S("\xf0\x80\x80\xaf"), WRONG},
      {"4.2.1: U+7F in two", S("\xc1\xbf"), WRONG},
      {"4.2.2: U+7FF in three", S("\xe0\x9f\xbf"), WRONG},
      {"4.2.3: U+FFFF in four", S("\xf0\x8f\xbf\xbf"), WRONG},
      {"4.3.1: NUL in two", S("\xc0\x80"), WRONG},
      {"5.1.1: U+D800", S("\xed\xa0\x80"), WRONG},
      {"5.1.7: U+DFFF", S("\xed\xbf\xbf"), WRONG},
      {"5.2.1: a pair of surrogates", S("\xed\xa0\x80\xed\xb0\x80"), WRONG},
      {"5.3: noncharacters", S("\xef\xbf\xbe\xef\xbf\xbf\xef\xb7\x90"), WHOLE},
      {"f5", S("\xf5\x80\x80\x80"), WRONG},
      {"f5 as the last byte", S("\xf5"), WRONG},
      {"a short form is wrong with its second byte", S("\xe0\x80"), WRONG},
      {"a surrogate is wrong with its second byte", S("\xed\xa0"), WRONG},
      {"above U+10FFFF with its second byte", S("\xf4\x90"), WRONG},
      {"32 bytes of ASCII and a wrong one", S("0123456789abcdef0123456789abcdef\xff"), WRONG},
      {"a wrong one in 32",
       S("0123456789abcdef012345\xff"
         "789abcdef"),
       WRONG},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tap_int(at_once(cases[i].data, cases[i].size), cases[i].want, "%s", cases[i].what);
    tap_int(naive(cases[i].data, cases[i].size), cases[i].want, "the naive decoder says the same");
    tap_ok(splits_agree(cases[i].data, cases[i].size, cases[i].want), "at every split point");
  }
}

/* All sequences of up to three bytes, of which the second and third are at the edges of ranges. */
static void edges(void) {
  static const unsigned char at[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};
  unsigned wrong = 0;
  for (unsigned first = 0; first < 256; first += tap_step(5)) {
    char data[4] = {(char)first};
    wrong += at_once(data, 1) != naive(data, 1);
    for (size_t i = 0; i < sizeof at; i++) {
      data[1] = (char)at[i];
      wrong += at_once(data, 2) != naive(data, 2);
      for (size_t j = 0; j < sizeof at; j++) {
        data[2] = (char)at[j];
        wrong += at_once(data, 3) != naive(data, 3);
      }
    }
  }
  tap_int(wrong, 0, "sequences at the edges of ranges that the naive decoder sees in another way");
}

/* A generator whose numbers are the same on each run. */
static uint32_t next(uint32_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 17;
  return *state ^= *state << 5;
}

/* Adds a character, seldom one with a wrong byte. Returns the new size. */
static size_t add(char *to, size_t size, uint32_t *random) {
  static const char *const texts[] = {"a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                      "0123456789abcdef0123456789abcdefg"};
  const char *text = texts[next(random) % 5];
  size_t length = strlen(text);
  memcpy(to + size, text, length);
  if (next(random) % 16 == 0) to[size + next(random) % length] = (char)next(random);
  return size + length;
}

static void random_bytes(void) {
  uint32_t random = 20240229;
  unsigned wrong = 0, wholes = 0, runs = 20000 / tap_step(50);
  for (unsigned run = 0; run < runs; run++) {
    char data[512];
    size_t size = 0, wanted = next(&random) % 160;
    while (size < wanted) size = add(data, size, &random);
    if (size > 0) size -= next(&random) % 2;
    enum verdict want = naive(data, size);
    wholes += want == WHOLE;
    wrong += at_once(data, size) != want || !splits_agree(data, size, want);
  }
  tap_int(wrong, 0, "random texts that the naive decoder sees in another way");
  tap_ok(wholes > runs / 10 && wholes < runs * 9 / 10, "%u of %u are UTF-8", wholes, runs);
}

int main(void) {
  kinds();
  edges();
  random_bytes();
  return tap_done();
}
