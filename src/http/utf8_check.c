/* UTF-8 that comes in pieces: shortest forms only, no surrogates, nothing above U+10FFFF. */
#include "http/utf8_check.h"

#include <stdint.h>
#include <string.h>

/* Returns how many bytes at the begin are ASCII, or somewhat fewer. */
static size_t skip_ascii(const unsigned char *data, size_t size) {
  size_t i = 0;
  for (; i + 32 <= size; i += 32) {
    uint64_t words[4];
    memcpy(words, data + i, sizeof words);
    if ((words[0] | words[1] | words[2] | words[3]) & 0x8080808080808080u) break;
  }
  while (i < size && data[i] < 0x80) i++;
  return i;
}

/* Begins a character of more than one byte. Returns whether there is one that begins so. */
static bool begin(struct mb_utf8 *state, unsigned char c) {
  state->low = 0x80;
  state->high = 0xbf;
  if (c >= 0xc2 && c <= 0xdf) {
    state->missing = 1;
  } else if (c >= 0xe0 && c <= 0xef) {
    state->missing = 2;
    if (c == 0xe0) state->low = 0xa0;  /* a shorter form exists below */
    if (c == 0xed) state->high = 0x9f; /* surrogates */
  } else if (c >= 0xf0 && c <= 0xf4) {
    state->missing = 3;
    if (c == 0xf0) state->low = 0x90;  /* a shorter form exists below */
    if (c == 0xf4) state->high = 0x8f; /* above U+10FFFF */
  } else {
    return false;
  }
  return true;
}

bool mb_utf8_take(struct mb_utf8 *state, const char *data, size_t size) {
  const unsigned char *bytes = (const unsigned char *)data;
  size_t i = 0;
  while (i < size) {
    if (state->missing == 0) {
      i += skip_ascii(bytes + i, size - i);
      if (i < size && !begin(state, bytes[i++])) return false;
      continue;
    }
    unsigned char c = bytes[i++];
    if (c < state->low || c > state->high) return false;
    state->missing--;
    state->low = 0x80;
    state->high = 0xbf;
  }
  return true;
}
