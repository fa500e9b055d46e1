/* Frames of WebSocket (RFC 6455, section 5). Uses no Lua and does no I/O. */
#ifndef MB_WEBSOCKET_FRAME_H
#define MB_WEBSOCKET_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mb_websocket_opcode {
  MB_WEBSOCKET_CONTINUATION = 0,
  MB_WEBSOCKET_TEXT = 1,
  MB_WEBSOCKET_BINARY = 2,
  MB_WEBSOCKET_CLOSE = 8,
  MB_WEBSOCKET_PING = 9,
  MB_WEBSOCKET_PONG = 10,
};

/* Status codes of a close (RFC 6455, section 7.4.1) that we send or make up. */
enum mb_websocket_code {
  MB_WEBSOCKET_NORMAL = 1000,
  MB_WEBSOCKET_GOING_AWAY = 1001,
  MB_WEBSOCKET_PROTOCOL_ERROR = 1002,
  MB_WEBSOCKET_NO_CODE = 1005,  /* the peer has named none; never sent */
  MB_WEBSOCKET_LOST = 1006,     /* there was no close; never sent */
  MB_WEBSOCKET_BAD_DATA = 1007, /* a text that is no UTF-8, or what cannot be decompressed */
  MB_WEBSOCKET_TOO_LARGE = 1009,
};

enum {
  MB_WEBSOCKET_HEAD_MAX = 14,     /* bytes of the longest head of a frame */
  MB_WEBSOCKET_CONTROL_MAX = 125, /* bytes of payload of a control frame (section 5.5) */
};

struct mb_websocket_frame {
  bool final;      /* the last frame of its message */
  bool compressed; /* RSV1: see RFC 7692 */
  bool masked;
  uint8_t opcode;
  unsigned char mask[4];
  uint64_t length; /* of the payload, in bytes */
};

static inline bool mb_websocket_is_control(uint8_t opcode) { return opcode >= 8; }

/*
 * Reads the head of a frame.
 * masked      whether the peer has to mask its frames: a client has to, a server must not
 * compresses  whether permessage-deflate was agreed on
 * ret_wrong   gets a static text when the head breaks a rule
 * Returns the size of the head; 0 when more bytes are needed; -1 when it breaks a rule (1002).
 */
int mb_websocket_parse(const char *data, size_t size, bool masked, bool compresses,
                       struct mb_websocket_frame *ret, const char **ret_wrong);

/* Writes the head of a frame to `to`, which has room for MB_WEBSOCKET_HEAD_MAX bytes. Returns its size. */
size_t mb_websocket_head(char *to, const struct mb_websocket_frame *frame);

/*
 * Masks payload, or takes the mask off (section 5.3).
 * to      may be `from`
 * offset  of the first byte in the payload of its frame
 */
void mb_websocket_mask(char *to, const char *from, size_t size, const unsigned char mask[4],
                       uint64_t offset);

/* Returns whether a peer may send this status code in a close (section 7.4, and the registry of IANA). */
bool mb_websocket_may_close_with(unsigned code);

#endif
