/*
 * What a client offers in Sec-WebSocket-Extensions (RFC 6455, section 9.1), of which permessage-deflate is known here,
 * and what we agree to (RFC 7692, section 7.1). Uses no Lua and does no I/O.
 */
#ifndef MB_WEBSOCKET_OFFER_H
#define MB_WEBSOCKET_OFFER_H

#include <stdint.h>

#include "http/http_span.h"

enum {
  MB_WEBSOCKET_BITS_MIN = 8, /* of the window of a side: it has 2^bits bytes */
  MB_WEBSOCKET_BITS_MAX = 15,
};

/* An offer of permessage-deflate. */
struct mb_websocket_offer {
  bool server_no_context_takeover, client_no_context_takeover;
  uint8_t server_max_window_bits; /* 0: not offered */
  uint8_t client_max_window_bits; /* 0: not offered; without a value, it is MB_WEBSOCKET_BITS_MAX */
};

/* What holds for the messages of one side. */
struct mb_websocket_side {
  bool no_context_takeover; /* a message does not refer to those before it */
  uint8_t bits;
};

/* What both sides keep to. */
struct mb_websocket_terms {
  struct mb_websocket_side server, client;
};

/* Room for an answer, and the zero behind it. */
enum { MB_WEBSOCKET_ANSWER_SIZE = 160 };

/*
 * Takes the next offer of permessage-deflate whose parameters are known and valid from the front of a list. Passes over
 * other extensions, and over offers that have to be declined.
 * list  the value of the field; those of several lines with commas between them
 * Returns 1; 0 when there is no other; or -1 when the list is malformed, and the handshake has to fail.
 */
int mb_websocket_offer_next(struct mb_span *list, struct mb_websocket_offer *ret);

/*
 * Agrees to an offer, within what it allows.
 * bits                 the most that we wish for the window of either side; a client that has not offered
 *                      client_max_window_bits may use more
 * no_context_takeover  whether we wish that for both sides
 * answer               gets the value of the field of the response
 */
void mb_websocket_agree(const struct mb_websocket_offer *offer, unsigned bits,
                        bool no_context_takeover, struct mb_websocket_terms *ret,
                        char answer[MB_WEBSOCKET_ANSWER_SIZE]);

#endif
