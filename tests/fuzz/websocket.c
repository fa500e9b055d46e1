/*
 * Fuzz harness for src/http/websocket_frame.c, websocket_offer.c, utf8_check.c and websocket_key.c, and for
 * src/base/zlib.c. The first byte of the input says which side sends and whether messages may be compressed; the rest
 * is a stream of frames. A simple decoder has to agree, in whatever pieces the stream comes. Heads are written again
 * as they were, masks come off as they do byte by byte, and UTF-8 is what a naive decoder says it is. The same bytes
 * are a list of offers, a message to compress, and a compressed message: a simple reader agrees on the list, our
 * answer is an offer of what it says, the first message comes back, and what comes of the other is the same in all
 * pieces.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/zlib.h"
#include "http/utf8_check.h"
#include "http/websocket_frame.h"
#include "http/websocket_key.h"
#include "http/websocket_offer.h"
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

/* ---- offers ---- */

/*
 * Copies a list without blanks around marks, and with one quote before a quoted token. Returns whether it is
 * well-formed.
 */
static bool plain(struct mb_span list, char *to) {
  char mark = ',';
  bool quoted = false, gap = false;
  for (size_t i = 0; i < list.size; i++) {
    char c = list.data[i];
    if (quoted && c == '\\') {
      if (++i == list.size) return false;
      c = list.data[i];
    } else if (c == '"') {
      if (quoted ? to[-1] == '"' : mark != '=') return false;
      quoted = !quoted;
      if (quoted) *to++ = '"';
      if (!quoted) mark = '"';
      continue;
    } else if (!quoted && (c == ' ' || c == '\t')) {
      gap = gap || mark == 0 || mark == '"';
      continue;
    } else if (!quoted && strchr(",;=", c) && c) {
      if (c == '=' && mark == '"') return false;
      *to++ = mark = c;
      gap = false;
      continue;
    }
    if (!mb_http_is(c, MB_HTTP_TOKEN) || gap || (!quoted && mark == '"')) return false;
    *to++ = c;
    if (!quoted) mark = 0;
  }
  *to = '\0';
  return !quoted;
}

/* Reads one offer of a plain list, a parameter after the other, by its text. Returns 1, 0 or -1 as the code does. */
static int offer_of(char *element, struct mb_websocket_offer *ret) {
  int good = 1, count = 0;
  *ret = (struct mb_websocket_offer){0};
  for (char *part = element; part; count++) {
    char *end = strchr(part, ';'), *value;
    if (end) *end = '\0';
    value = strchr(part, '=');
    if (value) *value++ = '\0';
    if (!*part || (value && (!*value || strchr(value, '=') || (count == 0)))) return -1;
    if (value && *value == '"') value++;
    unsigned bits = 0;
    for (unsigned n = 8; value && n < 16; n++) {
      char number[12];
      snprintf(number, sizeof number, "%u", n);
      if (strcmp(value, number) == 0) bits = n;
    }
    bool *flag = strcmp(part, "server_no_context_takeover") == 0 ? &ret->server_no_context_takeover
                 : strcmp(part, "client_no_context_takeover") == 0
                     ? &ret->client_no_context_takeover
                     : NULL;
    uint8_t *number = strcmp(part, "server_max_window_bits") == 0   ? &ret->server_max_window_bits
                      : strcmp(part, "client_max_window_bits") == 0 ? &ret->client_max_window_bits
                                                                    : NULL;
    if (count == 0) {
      if (strcmp(part, "permessage-deflate") != 0) good = 0;
    } else if (flag) {
      if (value || *flag) good = 0;
      *flag = true;
    } else if (number) {
      if (!value && number == &ret->client_max_window_bits) bits = 15;
      if (bits == 0 || *number) good = 0;
      *number = (uint8_t)bits;
    } else {
      good = 0;
    }
    part = end ? end + 1 : NULL;
  }
  return good;
}

static bool same_offer(const struct mb_websocket_offer *a, const struct mb_websocket_offer *b) {
  return a->server_no_context_takeover == b->server_no_context_takeover &&
         a->client_no_context_takeover == b->client_no_context_takeover &&
         a->server_max_window_bits == b->server_max_window_bits &&
         a->client_max_window_bits == b->client_max_window_bits;
}

/* Our answer offers what it says, and no more than was offered. */
static void check_answer(const struct mb_websocket_offer *offer) {
  for (unsigned bits = 9; bits <= 15; bits += 3) {
    char answer[MB_WEBSOCKET_ANSWER_SIZE];
    struct mb_websocket_terms terms;
    struct mb_websocket_offer again;
    mb_websocket_agree(offer, bits, bits == 12, &terms, answer);
    struct mb_span list = {answer, strlen(answer)};
    CHECK(mb_websocket_offer_next(&list, &again) == 1 && list.size == 0, "%s", answer);
    CHECK(again.server_no_context_takeover == terms.server.no_context_takeover &&
              again.client_no_context_takeover == terms.client.no_context_takeover,
          "%s", answer);
    CHECK(terms.server.no_context_takeover >= offer->server_no_context_takeover, "%s", answer);
    CHECK(terms.server.bits <= bits && again.server_max_window_bits ==
                                           (offer->server_max_window_bits ? terms.server.bits : 0),
          "%s", answer);
    CHECK(!offer->server_max_window_bits || terms.server.bits <= offer->server_max_window_bits,
          "%s", answer);
    CHECK(!again.client_max_window_bits || (again.client_max_window_bits == terms.client.bits &&
                                            terms.client.bits <= offer->client_max_window_bits),
          "%s", answer);
    CHECK(again.client_max_window_bits || terms.client.bits == 15, "%s", answer);
  }
}

static void check_offers(struct mb_span in) {
  if (in.size > 4000) in.size = 4000;
  char *copy = fuzz_copy(in), *text = malloc(in.size + 2), *rest = text + 1;
  CHECK(text, "no memory");
  text[0] = ',';
  struct mb_span list = {copy, in.size};
  bool well = plain(in, rest);
  for (int got = 1; got > 0;) {
    struct mb_websocket_offer offer, expected = {0};
    int want = 0;
    got = mb_websocket_offer_next(&list, &offer);
    if (got > 0) check_answer(&offer);
    while (well && want == 0 && rest) {
      char *element = rest, *end = strchr(rest, ',');
      if (end) *end = '\0';
      rest = end ? end + 1 : NULL;
      if (*element) want = offer_of(element, &expected);
    }
    if (well) CHECK(got == want, "%d instead of %d", got, want);
    if (well && got > 0) CHECK(same_offer(&offer, &expected), "the offer");
    if (!well && got == 0) CHECK(false, "nothing is wrong with a list that is malformed");
  }
  free(text);
  free(copy);
}

/* ---- compression ---- */

enum { INFLATED_MAX = 1 << 16 };

/* Decompresses a message in pieces, with so much room each time. *ret_size gets the size of what came of it. */
static enum verdict inflated(struct mb_span in, enum fuzz_split split, size_t room, char *to,
                             size_t *ret_size) {
  static struct mb_alloc alloc;
  static const char end[] = {0, 0, (char)0xff, (char)0xff};
  struct mb_zlib *z = mb_zlib_inflater(&alloc, 12);
  CHECK(z, "no memory");
  enum verdict verdict = MORE;
  size_t total = 0, size, at = 0;
  bool over = false;
  while (verdict == MORE && !over) {
    size = fuzz_piece(in, at, split);
    over = size == 0;
    struct mb_span piece = {over ? end : in.data + at, over ? sizeof end : size};
    at += size;
    size_t used, made = room;
    while (verdict == MORE && (piece.size > 0 || made == room) && total < INFLATED_MAX) {
      char *copy = fuzz_copy(piece), *out = malloc(room);
      CHECK(out, "no memory");
      int r = mb_zlib_inflate(z, copy, piece.size, out, room, &used, &made);
      CHECK(used <= piece.size && made <= room, "%zu bytes used, %zu made", used, made);
      if (made > INFLATED_MAX - total) made = INFLATED_MAX - total;
      memcpy(to + total, out, made);
      total += made;
      piece.data += used;
      piece.size -= used;
      if (r < 0) verdict = REFUSED;
      free(copy);
      free(out);
    }
    if (total == INFLATED_MAX) verdict = REFUSED;
  }
  if (verdict == MORE && mb_zlib_is_at_end(z)) verdict = GOOD;
  *ret_size = total;
  mb_zlib_free(z);
  CHECK(alloc.used == 0, "%zu bytes are left", alloc.used);
  return verdict;
}

static void check_inflate(struct mb_span in) {
  static char first[INFLATED_MAX], other[INFLATED_MAX];
  size_t first_size, size;
  if (in.size > 2000) in.size = 2000;
  enum verdict want = inflated(in, FUZZ_WHOLE, INFLATED_MAX, first, &first_size);
  for (enum fuzz_split split = FUZZ_WHOLE; split < FUZZ_SPLITS; split++) {
    enum verdict got = inflated(in, split, 700, other, &size);
    CHECK(got == want, "%d instead of %d, split %d", (int)got, (int)want, (int)split);
    CHECK(want == REFUSED || (size == first_size && memcmp(first, other, size) == 0), "the same");
  }
}

static void check_round_trip(struct mb_span in) {
  static char back[INFLATED_MAX];
  static struct mb_alloc alloc;
  struct mb_buf packed = MB_BUF_INIT;
  size_t size;
  if (in.size == 0) return;
  struct mb_zlib *z = mb_zlib_deflater(&alloc, 9);
  CHECK(z && mb_zlib_deflate(z, in.data, in.size, &packed) == 0, "no memory");
  struct mb_span message = {mb_buf_bytes(&packed), mb_buf_len(&packed)};
  CHECK(inflated(message, FUZZ_WHOLE, 4096, back, &size) == GOOD, "it is broken");
  CHECK(fuzz_same((struct mb_span){back, size}, in), "%zu bytes come back", size);
  mb_buf_free(&packed, &alloc);
  mb_zlib_free(z);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  struct nature nature = {.masked = !(data[0] & 1), .compresses = data[0] & 2};
  struct mb_span input = fuzz_input(data + 1, size - 1), rest = input;
  const char *why = mb_zlib_load();
  CHECK(!why, "%s", why);
  check_key(rest);
  check_offers(rest);
  check_inflate(rest);
  check_round_trip(rest);
  check_utf8(rest.data, rest.size);
  size_t taken;
  while ((taken = take_frame(rest, &nature)) > 0) {
    rest.data += taken;
    rest.size -= taken;
  }
  fuzz_input_free(input);
  return 0;
}
