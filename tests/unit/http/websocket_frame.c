/* src/http/websocket_frame.c: heads of all lengths, each rule of RFC 6455 (section 5) broken once, masks, codes. */
#include "http/websocket_frame.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/tap.h"

#define S(text) text, sizeof text - 1

/* Reads a head from memory of exactly its size, so that a read behind it is seen by AddressSanitizer and valgrind. */
static int parse(const char *data, size_t size, bool masked, bool compresses,
                 struct mb_websocket_frame *ret, const char **ret_wrong) {
  char *copy = malloc(size > 0 ? size : 1);
  if (!copy) tap_bail("no memory");
  if (size > 0) memcpy(copy, data, size);
  int head = mb_websocket_parse(copy, size, masked, compresses, ret, ret_wrong);
  free(copy);
  return head;
}

static void refused(void) {
  static const struct {
    const char *data;
    size_t size;
    bool masked, compresses;
    const char *why;
  } cases[] = {
      {S("\x91\x80"), true, false, "a reserved bit is set"},
      {S("\xa1\x80"), true, true, "a reserved bit is set"},
      {S("\xc1\x80"), true, false, "a compressed message without agreement"},
      {S("\xc0\x80"), true, true, "the bit of compression within a message"},
      {S("\xc9\x80"), true, true, "the bit of compression within a message"},
      {S("\x09\x80"), true, false, "a control frame in fragments"},
      {S("\x08\x80"), true, false, "a control frame in fragments"},
      {S("\x89\xfe"), true, false, "a control frame of more than 125 bytes"},
      {S("\x8a\xff"), true, false, "a control frame of more than 125 bytes"},
      {S("\x81\x00"), true, false, "a frame without a mask"},
      {S("\x81\x80"), false, false, "a frame with a mask"},
      {S("\x82\x7e\0\x7d"), false, false, "a length that is longer than it has to be"},
      {S("\x82\x7e\0\0"), false, false, "a length that is longer than it has to be"},
      {S("\x82\x7f\0\0\0\0\0\0\xff\xff"), false, false,
       "a length that is longer than it has to be"},
      {S("\x82\x7f\x80\0\0\0\0\0\0\0"), false, false, "a length with the highest bit"},
      {S("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\2\3\4"), true, false,
       "a length with the highest bit"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct mb_websocket_frame frame = {.length = 42};
    const char *wrong = NULL;
    int head =
        parse(cases[i].data, cases[i].size, cases[i].masked, cases[i].compresses, &frame, &wrong);
    tap_int(head, -1, "%s is refused", tap_printable(cases[i].data, cases[i].size));
    tap_str(wrong, cases[i].why, "why");
    tap_int((long long)frame.length, 42, "the frame is untouched");
  }
}

static void opcodes(void) {
  static const char *const unknown = "an unknown opcode";
  for (int opcode = 0; opcode < 16; opcode++) {
    char data[] = {(char)(0x80 | opcode), (char)0x80, 1, 2, 3, 4};
    struct mb_websocket_frame frame;
    const char *wrong = NULL;
    bool known = opcode <= 2 || (opcode >= 8 && opcode <= 10);
    int head = parse(data, sizeof data, true, false, &frame, &wrong);
    tap_int(head, known ? 6 : -1, "opcode %d", opcode);
    tap_str(wrong, known ? NULL : unknown, "why");
    if (known) tap_int(frame.opcode, opcode, "it is read");
    tap_ok(mb_websocket_is_control((uint8_t)opcode) == (opcode > 7),
           "whether %d is a control frame", opcode);
  }
}

/* Writes a head and reads it again, from each number of its bytes. */
static void round_trip(const struct mb_websocket_frame *frame, size_t size) {
  char data[MB_WEBSOCKET_HEAD_MAX];
  struct mb_websocket_frame got;
  const char *wrong = NULL;
  size_t written = mb_websocket_head(data, frame);
  tap_int((long long)written, (long long)size, "the head of %" PRIu64 " bytes%s", frame->length,
          frame->masked ? " with a mask" : "");
  bool needs = true;
  for (size_t part = 0; part < written; part++)
    needs = needs && parse(data, part, frame->masked, false, &got, &wrong) == 0;
  tap_ok(needs, "a part of it needs more");
  tap_int(parse(data, written, frame->masked, false, &got, &wrong), (long long)size,
          "it is read again");
  tap_ok(got.length == frame->length && got.final == frame->final && got.opcode == frame->opcode &&
             got.masked == frame->masked && !got.compressed,
         "what it says");
  if (frame->masked) tap_bytes(got.mask, 4, frame->mask, 4, "its mask");
}

static void lengths(void) {
  static const struct {
    uint64_t length;
    size_t size;
  } cases[] = {
      {0, 2},
      {1, 2},
      {125, 2},
      {126, 4},
      {127, 4},
      {255, 4},
      {256, 4},
      {65535, 4},
      {65536, 10},
      {65537, 10},
      {1 << 24, 10},
      {UINT32_MAX, 10},
      {UINT64_C(1) << 32, 10},
      {INT64_MAX, 10},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct mb_websocket_frame frame = {.final = i % 2, .opcode = 2, .length = cases[i].length};
    round_trip(&frame, cases[i].size);
    frame.masked = true;
    memcpy(frame.mask, "\1\xfe\0\x80", 4);
    round_trip(&frame, cases[i].size + 4);
  }
  struct mb_websocket_frame frame = {.final = true, .compressed = true, .opcode = 1};
  char data[MB_WEBSOCKET_HEAD_MAX];
  size_t size = mb_websocket_head(data, &frame);
  tap_bytes(data, size, "\xc1\0", 2, "a compressed message");
}

/* The examples of section 5.7. */
static void examples(void) {
  struct mb_websocket_frame frame;
  const char *wrong;
  char text[5];
  tap_int(parse(S("\x81\x85\x37\xfa\x21\x3d"), true, false, &frame, &wrong), 6, "a masked Hello");
  mb_websocket_mask(text, "\x7f\x9f\x4d\x51\x58", 5, frame.mask, 0);
  tap_bytes(text, 5, "Hello", 5, "without its mask");
  tap_int(parse(S("\x01\x03"), false, false, &frame, &wrong), 2, "the first fragment");
  tap_ok(!frame.final && frame.opcode == MB_WEBSOCKET_TEXT, "is not final");
  tap_int(parse(S("\x82\x7f\0\0\0\0\0\1\0\0"), false, false, &frame, &wrong), 10, "65,536 bytes");
}

/* Compares with a mask byte by byte: each size, place in memory and offset, with a guard on both sides. */
static void masks(void) {
  enum { SIZES = 70, PLACES = 9, ROOM = SIZES + PLACES + 2 };
  static const unsigned char mask[4] = {0x12, 0x00, 0xff, 0x81};
  char from[ROOM], to[ROOM], want[ROOM], within[ROOM];
  for (size_t i = 0; i < ROOM; i++) from[i] = (char)(i * 37 + 11);
  unsigned wrong = 0;
  for (size_t size = 0; size <= SIZES; size++) {
    for (size_t place = 0; place < PLACES; place++) {
      for (uint64_t offset = 0; offset < 9; offset++) {
        memset(to, 0x55, ROOM);
        memset(want, 0x55, ROOM);
        memcpy(within, from, ROOM);
        for (size_t i = 0; i < size; i++)
          want[1 + place + i] = (char)((unsigned char)from[1 + i] ^ mask[(offset + i) % 4]);
        mb_websocket_mask(to + 1 + place, from + 1, size, mask, offset);
        wrong += memcmp(to, want, ROOM) != 0;
        mb_websocket_mask(within + 1, within + 1, size, mask, offset);
        wrong += memcmp(within + 1, want + 1 + place, size) != 0 ||
                 memcmp(within + 1 + size, from + 1 + size, ROOM - 1 - size) != 0;
      }
    }
  }
  tap_int(wrong, 0, "masks that differ from one byte by byte");
  char one = 'a';
  mb_websocket_mask(&one, &one, 1, mask, INT64_MAX); /* 2^63 - 1 is 3 modulo 4 */
  tap_int((unsigned char)one, 'a' ^ 0x81, "an offset of 2^63 - 1");
  mb_websocket_mask(NULL, NULL, 0, mask, 0);
}

static void codes(void) {
  unsigned may = 0;
  for (unsigned code = 0; code < 65536; code++) may += mb_websocket_may_close_with(code);
  tap_int(may, 4 + 8 + 2000, "the codes that a close may have");
  static const struct {
    unsigned code;
    bool may;
  } cases[] = {
      {0, false},    {999, false},  {1000, true}, {1003, true},  {1004, false},
      {1005, false}, {1006, false}, {1007, true}, {1014, true},  {1015, false},
      {2999, false}, {3000, true},  {4999, true}, {5000, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    tap_ok(mb_websocket_may_close_with(cases[i].code) == cases[i].may, "%u %s", cases[i].code,
           cases[i].may ? "may be" : "must not be");
}

int main(void) {
  refused();
  opcodes();
  lengths();
  examples();
  masks();
  codes();
  return tap_done();
}
