/*
 * The answer to the key of a handshake. It has SHA-1 in it, which protects nothing there: it only shows that the
 * server knows WebSocket. So it is here, and no library of cryptography is loaded for it.
 */
#include "http/websocket_key.h"

#include <stdint.h>
#include <string.h>

enum { KEY_SIZE = 24, GUID_SIZE = 36, BLOCK = 64, DIGEST = 20 };

static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool mb_websocket_is_key(struct mb_span key) {
  if (key.size != KEY_SIZE || memcmp(key.data + 22, "==", 2) != 0) return false;
  for (size_t i = 0; i < 22; i++) {
    if (key.data[i] == '\0' || !strchr(digits, key.data[i])) return false;
  }
  return (strchr(digits, key.data[21]) - digits) % 16 == 0; /* no bits are left over */
}

static uint32_t rotated(uint32_t x, int by) { return x << by | x >> (32 - by); }

/* Mixes one block into the state (FIPS 180-4, section 6.1.2). */
static void mix(uint32_t state[5], const unsigned char block[BLOCK]) {
  uint32_t w[80];
  for (int i = 0; i < 16; i++) {
    const unsigned char *b = block + 4 * i;
    w[i] = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
  }
  for (int i = 16; i < 80; i++) w[i] = rotated(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
  for (int i = 0; i < 80; i++) {
    uint32_t f = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999u
                 : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1u
                 : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdcu
                          : (b ^ c ^ d) + 0xca62c1d6u;
    uint32_t next = rotated(a, 5) + f + e + w[i];
    e = d;
    d = c;
    c = rotated(b, 30);
    b = a;
    a = next;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
}

/* SHA-1 of a key and the GUID, which are 60 bytes: with what is added behind them, two blocks. */
static void digest(struct mb_span key, unsigned char to[DIGEST]) {
  uint32_t state[5] = {0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u, 0xc3d2e1f0u};
  unsigned char blocks[2 * BLOCK] = {0};
  memcpy(blocks, key.data, KEY_SIZE);
  memcpy(blocks + KEY_SIZE, guid, GUID_SIZE);
  blocks[KEY_SIZE + GUID_SIZE] = 0x80;
  blocks[2 * BLOCK - 2] = (unsigned char)((KEY_SIZE + GUID_SIZE) * 8 >> 8); /* the number of bits */
  blocks[2 * BLOCK - 1] = (unsigned char)((KEY_SIZE + GUID_SIZE) * 8);
  mix(state, blocks);
  mix(state, blocks + BLOCK);
  for (int i = 0; i < DIGEST; i++) to[i] = (unsigned char)(state[i / 4] >> (24 - 8 * (i % 4)));
}

void mb_websocket_accept(struct mb_span key, char to[MB_WEBSOCKET_ACCEPT_SIZE]) {
  unsigned char hash[DIGEST + 1];
  digest(key, hash);
  hash[DIGEST] = 0;
  for (int i = 0, out = 0; i < DIGEST; i += 3) {
    uint32_t three = (uint32_t)hash[i] << 16 | (uint32_t)hash[i + 1] << 8 | hash[i + 2];
    for (int shift = 18; shift >= 0; shift -= 6) to[out++] = digits[three >> shift & 63];
  }
  to[MB_WEBSOCKET_ACCEPT_SIZE - 1] = '=';
}
