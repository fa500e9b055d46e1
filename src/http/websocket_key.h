/* The key of WebSocket's opening handshake (RFC 6455, section 4.2.2). Uses no Lua. */
#ifndef MB_WEBSOCKET_KEY_H
#define MB_WEBSOCKET_KEY_H

#include <stdbool.h>

#include "http/http_span.h"

enum { MB_WEBSOCKET_ACCEPT_SIZE = 28 };

/* Returns whether a Sec-WebSocket-Key is 16 bytes in base64. */
bool mb_websocket_is_key(struct mb_span key);

/* Writes the value of Sec-WebSocket-Accept for a key, without a NUL. */
void mb_websocket_accept(struct mb_span key, char to[MB_WEBSOCKET_ACCEPT_SIZE]);

#endif
