/* Frames of WebSocket: their heads, their masks, their codes. */
#include "http/websocket_frame.h"

#include <string.h>

static int refuse(const char **ret_wrong, const char *why) {
  *ret_wrong = why;
  return -1;
}

/* Checks the two bytes that each head begins with. */
static int check(const unsigned char *bytes, bool masked, bool compresses, const char **ret_wrong) {
  unsigned opcode = bytes[0] & 0x0f, length = bytes[1] & 0x7f;
  if (bytes[0] & 0x30) return refuse(ret_wrong, "a reserved bit is set");
  if (bytes[0] & 0x40 && !compresses)
    return refuse(ret_wrong, "a compressed message without agreement");
  if ((opcode > 2 && opcode < 8) || opcode > 10) return refuse(ret_wrong, "an unknown opcode");
  if (opcode >= 8 && !(bytes[0] & 0x80)) return refuse(ret_wrong, "a control frame in fragments");
  if (opcode >= 8 && length > MB_WEBSOCKET_CONTROL_MAX)
    return refuse(ret_wrong, "a control frame of more than 125 bytes");
  if (bytes[0] & 0x40 && (opcode == 0 || opcode >= 8))
    return refuse(ret_wrong, "the bit of compression within a message");
  if (!(bytes[1] & 0x80) == masked)
    return refuse(ret_wrong, masked ? "a frame without a mask" : "a frame with a mask");
  return 0;
}

int mb_websocket_parse(const char *data, size_t size, bool masked, bool compresses,
                       struct mb_websocket_frame *ret, const char **ret_wrong) {
  const unsigned char *bytes = (const unsigned char *)data;
  if (size < 2) return 0;
  if (check(bytes, masked, compresses, ret_wrong) < 0) return -1;
  uint64_t length = bytes[1] & 0x7f;
  size_t extra = length == 127 ? 8 : length == 126 ? 2 : 0;
  size_t whole = 2 + extra + (masked ? 4 : 0);
  if (size < whole) return 0;
  if (extra > 0) {
    uint64_t least = extra == 2 ? 126 : 65536;
    length = 0;
    for (size_t i = 0; i < extra; i++) length = length << 8 | bytes[2 + i];
    if (length >> 63) return refuse(ret_wrong, "a length with the highest bit");
    if (length < least) return refuse(ret_wrong, "a length that is longer than it has to be");
  }
  *ret = (struct mb_websocket_frame){
      .final = bytes[0] & 0x80,
      .compressed = bytes[0] & 0x40,
      .masked = masked,
      .opcode = bytes[0] & 0x0f,
      .length = length,
  };
  if (masked) memcpy(ret->mask, bytes + whole - 4, 4);
  return (int)whole;
}

size_t mb_websocket_head(char *to, const struct mb_websocket_frame *frame) {
  unsigned char *out = (unsigned char *)to;
  size_t extra = frame->length < 126 ? 0 : frame->length < 65536 ? 2 : 8;
  unsigned short_length = extra == 0 ? (unsigned)frame->length : extra == 2 ? 126 : 127;
  out[0] =
      (unsigned char)((frame->final ? 0x80 : 0) | (frame->compressed ? 0x40 : 0) | frame->opcode);
  out[1] = (unsigned char)((frame->masked ? 0x80 : 0) | short_length);
  for (size_t i = 0; i < extra; i++)
    out[2 + i] = (unsigned char)(frame->length >> (8 * (extra - 1 - i)));
  if (!frame->masked) return 2 + extra;
  memcpy(out + 2 + extra, frame->mask, 4);
  return 2 + extra + 4;
}

void mb_websocket_mask(char *to, const char *from, size_t size, const unsigned char mask[4],
                       uint64_t offset) {
  unsigned char key[8];
  for (size_t i = 0; i < sizeof key; i++) key[i] = mask[(offset + i) & 3];
  uint64_t word;
  memcpy(&word, key, sizeof word);
  size_t i = 0;
  for (; i + sizeof word <= size; i += sizeof word) {
    uint64_t bytes;
    memcpy(&bytes, from + i, sizeof bytes);
    bytes ^= word;
    memcpy(to + i, &bytes, sizeof bytes);
  }
  for (; i < size; i++) to[i] = (char)(from[i] ^ (char)key[i & 7]);
}

bool mb_websocket_may_close_with(unsigned code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
         (code >= 3000 && code <= 4999);
}
