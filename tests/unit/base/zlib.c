/*
 * src/base/zlib.c: messages come back, in whatever pieces and room, with each window; memory that runs out; and the
 * examples of RFC 7692 (section 7.2.3).
 */
#include "base/zlib.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/tap.h"

#define S(text) text, sizeof text - 1

enum { TEXT_SIZE = 20000 };

static struct mb_alloc alloc;
static char text[TEXT_SIZE];

/* Words in no order: what repeats is near and far. */
static void make_text(void) {
  static const char *const words[] = {"one", "two", "three", "four ", "five-hundred", "\n", "{}"};
  unsigned long long random = 88172645463325252ULL;
  size_t size = 0;
  while (size < TEXT_SIZE) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    const char *word = words[random % (sizeof words / sizeof *words)];
    for (; *word && size < TEXT_SIZE; word++) text[size++] = *word;
    if (size < TEXT_SIZE) text[size++] = (char)(random >> 32);
  }
}

static char got[TEXT_SIZE + 4096];

/*
 * Decompresses a message and its end, in pieces of so many bytes, with so much room.
 * Returns the size of what is in `got` then; -1 when it is broken.
 */
static long inflated(struct mb_zlib *z, const char *data, size_t size, size_t piece, size_t room) {
  static const char end[] = {0, 0, (char)0xff, (char)0xff};
  size_t total = 0, used, made;
  for (int part = 0; part < 2; part++) {
    const char *at = part == 0 ? data : end;
    size_t left = part == 0 ? size : sizeof end;
    do {
      size_t n = left < piece ? left : piece, space = sizeof got - total;
      if (space > room) space = room;
      char *copy = malloc(n + 1),
           *to = malloc(space + 1); /* what is read or written behind them is seen */
      if (!copy || !to || space == 0) tap_bail("no memory");
      memcpy(copy, at, n);
      int r = mb_zlib_inflate(z, copy, n, to, space, &used, &made);
      memcpy(got + total, to, made);
      free(copy);
      free(to);
      if (r < 0) return -1;
      total += made;
      at += used;
      left -= used;
    } while (left > 0 || made == room);
  }
  return (long)total;
}

static void messages_come_back(void) {
  static const size_t sizes[] = {1, 2, 100, 5000, TEXT_SIZE, 1, 300, TEXT_SIZE};
  static const size_t pieces[] = {1, 2, 3, 7, 4096};
  for (int bits = MB_ZLIB_BITS_MIN; bits <= MB_ZLIB_BITS_MAX; bits += (int)tap_step(4)) {
    struct mb_zlib *deflater = mb_zlib_deflater(&alloc, bits), *inflater[5];
    size_t sent = 0, wrong = 0, at = 0;
    for (int i = 0; i < 5; i++) inflater[i] = mb_zlib_inflater(&alloc, bits);
    for (size_t m = 0; m < sizeof sizes / sizeof *sizes; m++) {
      struct mb_buf packed = MB_BUF_INIT;
      size_t size = sizes[m];
      at = (at + 31) % (TEXT_SIZE - size + 1);
      tap_int(mb_zlib_deflate(deflater, text + at, size, &packed), 0, "compressed");
      sent += mb_buf_len(&packed);
      for (int i = 0; i < 5; i++) {
        long n = inflated(inflater[i], mb_buf_bytes(&packed), mb_buf_len(&packed), pieces[i],
                          i % 2 == 0 ? 4096 : 5);
        wrong +=
            n != (long)size || memcmp(got, text + at, size) != 0 || !mb_zlib_is_at_end(inflater[i]);
      }
      mb_buf_free(&packed, &alloc);
    }
    tap_int((long long)wrong, 0, "all come back from a window of %d bits", bits);
    tap_ok(sent < 36000, "they are smaller: %zu bytes", sent);
    mb_zlib_free(deflater);
    for (int i = 0; i < 5; i++) mb_zlib_free(inflater[i]);
  }
  tap_int((long long)alloc.used, 0, "all memory is free again");
}

/* zlib has no window of 8 bits for what it compresses: the one of 9 bits must not be noticed. */
static void eight_bits(void) {
  bool all = true;
  for (size_t distance = 200; distance < 520; distance += tap_step(50)) {
    struct mb_zlib *deflater = mb_zlib_deflater(&alloc, 8), *inflater = mb_zlib_inflater(&alloc, 8);
    struct mb_buf packed = MB_BUF_INIT;
    char data[1100];
    unsigned random = (unsigned)distance;
    for (size_t i = 0; i < sizeof data; i++) {
      random = random * 1103515245u + 12345u;
      data[i] = i < distance ? (char)(random >> 16) : data[i - distance];
    }
    if (mb_zlib_deflate(deflater, data, sizeof data, &packed) < 0) tap_bail("no memory");
    long n = inflated(inflater, mb_buf_bytes(&packed), mb_buf_len(&packed), 4096, 4096);
    all = all && n == sizeof data && memcmp(got, data, sizeof data) == 0;
    mb_buf_free(&packed, &alloc);
    mb_zlib_free(deflater);
    mb_zlib_free(inflater);
  }
  tap_ok(all, "nothing refers to more than 256 bytes before it, in a window of 8 bits");
}

static void examples(void) {
  static const struct {
    const char *name, *data;
    size_t size;
    const char *want; /* NULL: broken */
    bool ends;
  } cases[] = {
      {"a block (7.2.3.1)", S("\xf2\x48\xcd\xc9\xc9\x07\x00"), "Hello", true},
      {"the same again: it refers to the one before (7.2.3.2)", S("\xf2\x00\x11\x00\x00"), "Hello",
       true},
      {"a block without compression (7.2.3.3)", S("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"),
       "Hello", true},
      {"a last block (7.2.3.4)", S("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), "Hello", true},
      {"a message that refers to what is before the last block", S("\xf2\x00\x11\x00\x00"), "Hello",
       true},
      {"two blocks (7.2.3.5)", S("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), "Hello",
       true},
      {"two last blocks", S("\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
       "HelloHello", true},
      {"an empty message (7.2.3.6)", S("\x00"), "", true},
      {"no byte at all", S(""), "", false},
  };
  struct mb_zlib *z = mb_zlib_inflater(&alloc, 15);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    long n = inflated(z, cases[i].data, cases[i].size, 4096, 4096);
    tap_bytes(got, n < 0 ? 0 : (size_t)n, cases[i].want, strlen(cases[i].want), "%s",
              cases[i].name);
    tap_ok(mb_zlib_is_at_end(z) == cases[i].ends, "whether it ends as it has to");
  }
  mb_zlib_free(z);
  static const struct {
    const char *name, *data;
    size_t size;
    bool broken;
  } wrong[] = {
      {"an unknown kind of block", S("\x06"), true},
      {"a block without compression whose lengths differ", S("\x00\x05\x00\xff\xff"), true},
      {"what refers to before the begin", S("\xf2\x00\x11\x00\x00"), true},
      {"a last block without what fills its byte", S("\xf3\x48\xcd\xc9\xc9\x07\x00"), false},
      {"half a block", S("\xf2\x48\xcd"), false},
      {"a block without compression that is too short", S("\x00\x15\x00\xea\xff\x48"), false},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    z = mb_zlib_inflater(&alloc, 15);
    long n = inflated(z, wrong[i].data, wrong[i].size, 4096, 4096);
    bool refused = n < 0 || !mb_zlib_is_at_end(z);
    tap_ok(refused && (n < 0) == wrong[i].broken, "%s is refused", wrong[i].name);
    mb_zlib_free(z);
  }
}

/* A byte more of room than a message has shows where it ends; a bomb makes no more than there is room for. */
static void a_bomb(void) {
  static char zeros[1 << 20];
  struct mb_buf packed = MB_BUF_INIT;
  struct mb_zlib *deflater = mb_zlib_deflater(&alloc, 15), *inflater = mb_zlib_inflater(&alloc, 15);
  size_t used, made;
  mb_zlib_deflate(deflater, zeros, sizeof zeros, &packed);
  tap_ok(mb_buf_len(&packed) < 1100, "a message becomes a thousand times smaller: %zu",
         mb_buf_len(&packed));
  mb_zlib_inflate(inflater, mb_buf_bytes(&packed), mb_buf_len(&packed), got, 1000, &used, &made);
  tap_int((long long)made, 1000, "it comes back as far as there is room");
  tap_ok(used < 100, "and the rest stays where it is: %zu bytes used", used);
  mb_buf_free(&packed, &alloc);
  mb_zlib_free(deflater);
  mb_zlib_free(inflater);
}

/* What mb.websocket(3) says of memory, and that no call needs any later. */
static void memory(void) {
  static const struct {
    int bits;
    size_t sends, receives; /* KiB at most */
  } costs[] = {{9, 11, 8}, {12, 39, 12}, {15, 263, 40}};
  for (size_t i = 0; i < sizeof costs / sizeof *costs; i++) {
    struct mb_zlib *deflater = mb_zlib_deflater(&alloc, costs[i].bits);
    size_t sends = alloc.used;
    struct mb_zlib *inflater = mb_zlib_inflater(&alloc, costs[i].bits);
    size_t receives = alloc.used - sends;
    tap_ok(sends <= costs[i].sends * 1024 && receives <= costs[i].receives * 1024,
           "%d bits cost %zu and %zu bytes", costs[i].bits, sends, receives);
    struct mb_buf packed = MB_BUF_INIT;
    mb_zlib_deflate(deflater, text, TEXT_SIZE, &packed);
    size_t before = alloc.used;
    alloc.limit = 1;
    long n = inflated(inflater, mb_buf_bytes(&packed), mb_buf_len(&packed), 4096, 4096);
    alloc.limit = 0;
    tap_ok(n == TEXT_SIZE && alloc.used == before, "it comes back without more memory");
    mb_buf_free(&packed, &alloc);
    mb_zlib_free(deflater);
    mb_zlib_free(inflater);
  }
}

static void memory_runs_out(void) {
  int made = 0, failed = 0, half = 0;
  bool tidy = true;
  for (size_t limit = 1; limit < 80000; limit += 97 * tap_step(9)) {
    struct mb_buf packed = MB_BUF_INIT;
    alloc.limit = limit;
    struct mb_zlib *deflater = mb_zlib_deflater(&alloc, 12);
    struct mb_zlib *inflater = deflater ? mb_zlib_inflater(&alloc, 12) : NULL;
    int r = inflater ? mb_zlib_deflate(deflater, text, TEXT_SIZE, &packed) : 0;
    alloc.limit = 0;
    failed += !inflater;
    half += r == -ENOMEM;
    if (inflater && r == 0) {
      long n = inflated(inflater, mb_buf_bytes(&packed), mb_buf_len(&packed), 4096, 4096);
      made += n == TEXT_SIZE;
    }
    mb_buf_free(&packed, &alloc);
    mb_zlib_free(deflater);
    mb_zlib_free(inflater);
    tidy = tidy && alloc.used == 0;
  }
  tap_ok(made > 10 && failed > 30 && half > 5, "memory is enough %d times; not %d and %d times",
         made, failed, half);
  tap_ok(tidy, "nothing is left behind");
}

int main(void) {
  const char *why = mb_zlib_load();
  if (why) tap_bail(why);
  make_text();
  messages_come_back();
  eight_bits();
  examples();
  a_bomb();
  memory();
  memory_runs_out();
  mb_zlib_free(NULL);
  tap_int((long long)alloc.used, 0, "all memory is free again");
  return tap_done();
}
