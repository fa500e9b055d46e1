/*
 * Fuzz harness for src/http/websocket_frame.c, utf8_check.c and websocket_key.c. The first byte of the input says which
 * side sends and whether messages may be compressed; the rest is a stream of frames. A simple decoder has to agree, in
 * whatever pieces the stream comes. Heads are written again as they were, masks come off as they do byte by byte, and
 * UTF-8 is what a naive decoder says it is.
 */
#include <stdlib.h>
#include <string.h>

#include "http/utf8_check.h"
#include "http/websocket_frame.h"
#include "http/websocket_key.h"
#include "fuzz.h"

struct nature {
  bool masked, compresses;
};

/* ---- the reference ---- */

enum verdict { MORE, REFUSED, GOOD };

/* Returns whether bytes are a whole number of characters, or else whether they may become one: by each value's bits. */
static enum verdict characters(const unsigned char *bytes, size_t size) {
  for (size_t i = 0; i < size;) {
    unsigned char c = bytes[i++];
    if (c < 0x80) continue;
    int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
    if (c < 0xc2 || c > 0xf4) return REFUSED;
    uint32_t least = c & (0x3fu >> more), most = least;
    for (int k = 0; k < more; k++) {
      bool there = i < size;
      if (there && (bytes[i] & 0xc0) != 0x80) return REFUSED;
      least = least << 6 | (there ? bytes[i] & 0x3fu : 0);
      most = most << 6 | (there ? bytes[i] & 0x3fu : 0x3f);
      i += there;
    }
    static const uint32_t lowest[] = {0, 0x80, 0x800, 0x10000};
    if (least < lowest[more]) least = lowest[more];
    if (most > 0x10ffff) most = 0x10ffff;
    if (least > most || (least >= 0xd800 && most <= 0xdfff)) return REFUSED;
    if (least != most) return MORE;
  }
  return GOOD;
}

/* Reads a head in the way of section 5.2: first all its numbers, then what must not be. */
static enum verdict head_of(struct mb_span in, const struct nature *nature,
                            struct mb_websocket_frame *ret, size_t *ret_size) {
  const unsigned char *b = (const unsigned char *)in.data;
  if (in.size < 2) return MORE;
  unsigned opcode = b[0] % 16, rsv1 = b[0] / 64 % 2, rsv23 = b[0] / 16 % 4, fin = b[0] / 128;
  unsigned mask = b[1] / 128, length = b[1] % 128;
  bool control = opcode / 8, known = opcode == 0 || opcode == 1 || opcode == 2 || opcode == 8 ||
                                     opcode == 9 || opcode == 10;
  if (rsv23 || !known || mask != nature->masked ||
      (rsv1 && !(nature->compresses && (opcode == 1 || opcode == 2))))
    return REFUSED;
  if (control && (!fin || length > 125)) return REFUSED;
  size_t size = 2 + (length < 126 ? 0u : length == 126 ? 2u : 8u);
  if (in.size < size + 4 * mask) return MORE;
  uint64_t value = length;
  if (size > 2) {
    value = 0;
    for (size_t i = 2; i < size; i++) value = value * 256 + b[i];
    if (value > INT64_MAX || value < (size == 4 ? 126u : 65536u)) return REFUSED;
  }
  *ret = (struct mb_websocket_frame){fin, rsv1, mask, (uint8_t)opcode, {0}, value};
  if (mask) memcpy(ret->mask, b + size, 4);
  *ret_size = size + 4 * mask;
  return GOOD;
}

/* ---- the code under test ---- */

/* Adds payload without its mask, a piece after the other, and checks each against a mask byte by byte. */
static void unmask(struct mb_span payload, const struct mb_websocket_frame *frame,
                   enum fuzz_split split, char *to) {
  size_t size;
  for (size_t at = 0; (size = fuzz_piece(payload, at, split)) > 0; at += size) {
    char *copy = fuzz_copy((struct mb_span){payload.data + at, size});
    mb_websocket_mask(copy, copy, size, frame->mask, at);
    memcpy(to + at, copy, size);
    free(copy);
  }
  for (size_t i = 0; i < payload.size; i++)
    CHECK((char)(payload.data[i] ^ (char)frame->mask[i & 3]) == to[i], "byte %zu of %zu", i,
          payload.size);
}

static void check_utf8(const char *data, size_t size) {
  struct mb_span all = {data, size};
  enum verdict want = characters((const unsigned char *)data, size);
  for (enum fuzz_split split = FUZZ_WHOLE; split < FUZZ_SPLITS; split++) {
    struct mb_utf8 state = {0};
    bool good = true;
    size_t piece;
    for (size_t at = 0; good && (piece = fuzz_piece(all, at, split)) > 0; at += piece) {
      char *copy = fuzz_copy((struct mb_span){data + at, piece});
      good = mb_utf8_take(&state, copy, piece);
      free(copy);
    }
    enum verdict got = !good ? REFUSED : mb_utf8_is_whole(&state) ? GOOD : MORE;
    CHECK(got == want, "%d instead of %d, split %d", (int)got, (int)want, (int)split);
  }
}

static void check_head(const struct mb_websocket_frame *frame, struct mb_span as_read) {
  char head[MB_WEBSOCKET_HEAD_MAX];
  size_t size = mb_websocket_head(head, frame);
  CHECK(fuzz_same((struct mb_span){head, size}, as_read), "%zu bytes instead of %zu", size,
        as_read.size);
}

/* Reads a frame at the front of the stream. Returns how many bytes it takes; 0 when there is none, or a part of one. */
static size_t take_frame(struct mb_span in, const struct nature *nature) {
  struct mb_websocket_frame got, want;
  const char *wrong = NULL;
  size_t want_size = 0;
  enum verdict verdict = head_of(in, nature, &want, &want_size);
  int whole =
      mb_websocket_parse(in.data, in.size, nature->masked, nature->compresses, &got, &wrong);
  CHECK((whole > 0) == (verdict == GOOD) && (whole < 0) == (verdict == REFUSED),
        "%d, expected %d: %s", whole, (int)verdict, wrong ? wrong : "");
  CHECK((whole < 0) == (wrong != NULL), "a reason");
  /* What more bytes make good or wrong is not known before: each part of the head is either too short or wrong. */
  for (size_t part = 0; part < in.size && part < MB_WEBSOCKET_HEAD_MAX; part++) {
    struct mb_span begin = {in.data, part};
    char *copy = fuzz_copy(begin);
    int early = mb_websocket_parse(copy, part, nature->masked, nature->compresses, &got, &wrong);
    CHECK(early == 0 || early == whole, "%d of %zu bytes, %d of all", early, part, whole);
    free(copy);
  }
  if (whole <= 0) return 0;
  CHECK((size_t)whole == want_size, "%d instead of %zu", whole, want_size);
  mb_websocket_parse(in.data, in.size, nature->masked, nature->compresses, &got, &wrong);
  CHECK(got.final == want.final && got.compressed == want.compressed && got.masked == want.masked &&
            got.opcode == want.opcode && got.length == want.length &&
            memcmp(got.mask, want.mask, 4) == 0,
        "the frame");
  check_head(&got, (struct mb_span){in.data, want_size});
  struct mb_span payload = {in.data + want_size, in.size - want_size};
  if (payload.size > got.length) payload.size = (size_t)got.length;
  char *to = malloc(payload.size + 1);
  CHECK(to, "no memory");
  for (enum fuzz_split split = FUZZ_WHOLE; split < FUZZ_SPLITS; split++)
    unmask(payload, &got, split, to);
  check_utf8(to, payload.size);
  free(to);
  return payload.size == got.length ? want_size + payload.size : 0;
}

static void check_key(struct mb_span key) {
  char accept[MB_WEBSOCKET_ACCEPT_SIZE];
  if (!mb_websocket_is_key(key)) return;
  CHECK(key.size == 24, "%zu", key.size);
  mb_websocket_accept(key, accept);
  CHECK(accept[26] != '=' && accept[27] == '=', "padding of 20 bytes");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  struct nature nature = {.masked = !(data[0] & 1), .compresses = data[0] & 2};
  struct mb_span input = fuzz_input(data + 1, size - 1), rest = input;
  check_key(rest);
  check_utf8(rest.data, rest.size);
  size_t taken;
  while ((taken = take_frame(rest, &nature)) > 0) {
    rest.data += taken;
    rest.size -= taken;
  }
  fuzz_input_free(input);
  return 0;
}
