/* Reads offers of extensions: tokens, with parameters whose values are tokens or such in quotes. */
#include "http/websocket_offer.h"

#include <stdio.h>
#include <string.h>

/* A parameter. Its value has its backslashes, if it was in quotes. */
struct parameter {
  struct mb_span name, value;
  bool has_value;
};

static bool is(struct mb_span span, const char *word) {
  return span.size == strlen(word) && memcmp(span.data, word, span.size) == 0;
}

static void skip_blanks(struct mb_span *from) {
  while (from->size > 0 && mb_http_is_blank(from->data[0])) mb_http_take(from, 1);
}

/* Takes one character, and the blanks around it. Returns whether it was there. */
static bool take_mark(struct mb_span *from, char mark) {
  skip_blanks(from);
  if (from->size == 0 || from->data[0] != mark) return false;
  mb_http_take(from, 1);
  skip_blanks(from);
  return true;
}

static bool take_token(struct mb_span *from, struct mb_span *ret) {
  size_t size = 0;
  while (size < from->size && mb_http_is(from->data[size], MB_HTTP_TOKEN)) size++;
  *ret = mb_http_take(from, size);
  return size > 0;
}

/* Takes a string in quotes, which has to be a token without them and without its backslashes. */
static bool take_quoted(struct mb_span *from, struct mb_span *ret) {
  size_t size = 1, letters = 0;
  while (size < from->size && from->data[size] != '"') {
    if (from->data[size] == '\\') size++;
    if (size == from->size || !mb_http_is(from->data[size], MB_HTTP_TOKEN)) return false;
    size++;
    letters++;
  }
  if (size == from->size || letters == 0) return false;
  *ret = (struct mb_span){from->data + 1, size - 1};
  mb_http_take(from, size + 1);
  return true;
}

/* Takes the next parameter of an extension. Returns 1; 0 when nothing is left; -1 when it is malformed. */
static int next_parameter(struct mb_span *rest, struct parameter *ret) {
  if (rest->size == 0) return 0;
  if (!take_mark(rest, ';') || !take_token(rest, &ret->name)) return -1;
  ret->has_value = take_mark(rest, '=');
  if (!ret->has_value) return 1;
  bool quoted = rest->size > 0 && rest->data[0] == '"';
  return (quoted ? take_quoted : take_token)(rest, &ret->value) ? 1 : -1;
}

/* Returns the number of bits: decimal, without a zero in front. 0: it is no such number. */
static uint8_t bits_of(struct mb_span value) {
  unsigned bits = 0;
  for (size_t i = 0; i < value.size; i++) {
    char c = value.data[i];
    if (c == '\\') continue;
    if (!mb_http_is(c, MB_HTTP_DIGIT) || (bits == 0 && c == '0')) return 0;
    bits = bits * 10 + (unsigned)(c - '0');
    if (bits > MB_WEBSOCKET_BITS_MAX) return 0;
  }
  return bits < MB_WEBSOCKET_BITS_MIN ? 0 : (uint8_t)bits;
}

static bool set_flag(bool *flag, const struct parameter *p) {
  bool is_first = !*flag;
  *flag = true;
  return is_first && !p->has_value;
}

/* without_value: what a parameter without a value stands for; 0: it needs one. */
static bool set_bits(uint8_t *bits, const struct parameter *p, uint8_t without_value) {
  bool is_first = *bits == 0;
  *bits = p->has_value ? bits_of(p->value) : without_value;
  return is_first && *bits > 0;
}

/* Adds a parameter to an offer. Returns whether it is known, valid, and the first of its name. */
static bool add(struct mb_websocket_offer *offer, const struct parameter *p) {
  if (is(p->name, "server_no_context_takeover"))
    return set_flag(&offer->server_no_context_takeover, p);
  if (is(p->name, "client_no_context_takeover"))
    return set_flag(&offer->client_no_context_takeover, p);
  if (is(p->name, "server_max_window_bits")) return set_bits(&offer->server_max_window_bits, p, 0);
  if (is(p->name, "client_max_window_bits"))
    return set_bits(&offer->client_max_window_bits, p, MB_WEBSOCKET_BITS_MAX);
  return false;
}

/* Reads an extension. Returns 1 when it is an offer that can be agreed to; 0 when it is not; -1: it is malformed. */
static int read_one(struct mb_span element, struct mb_websocket_offer *ret) {
  struct mb_span name;
  struct parameter p;
  *ret = (struct mb_websocket_offer){0};
  if (!take_token(&element, &name)) return -1;
  bool good = is(name, "permessage-deflate");
  int r;
  while ((r = next_parameter(&element, &p)) > 0) good = good && add(ret, &p);
  return r < 0 ? -1 : good;
}

int mb_websocket_offer_next(struct mb_span *list, struct mb_websocket_offer *ret) {
  struct mb_span element;
  while (mb_http_list_next(list, &element)) {
    int r = read_one(element, ret);
    if (r != 0) return r;
  }
  return 0;
}

/* ---- the answer ---- */

static uint8_t least(unsigned a, unsigned b) { return (uint8_t)(a < b ? a : b); }

void mb_websocket_agree(const struct mb_websocket_offer *offer, unsigned bits,
                        bool no_context_takeover, struct mb_websocket_terms *ret,
                        char answer[MB_WEBSOCKET_ANSWER_SIZE]) {
  bool limits_server = offer->server_max_window_bits;
  *ret = (struct mb_websocket_terms){
      .server = {offer->server_no_context_takeover || no_context_takeover, (uint8_t)bits},
      .client = {offer->client_no_context_takeover || no_context_takeover, MB_WEBSOCKET_BITS_MAX},
  };
  if (limits_server) ret->server.bits = least(offer->server_max_window_bits, bits);
  if (offer->client_max_window_bits) ret->client.bits = least(offer->client_max_window_bits, bits);
  bool limits_client = ret->client.bits < MB_WEBSOCKET_BITS_MAX; /* which a client may use anyway */
  char server_bits[32] = "", client_bits[32] = "";
  if (limits_server)
    snprintf(server_bits, sizeof server_bits, "; server_max_window_bits=%u", ret->server.bits);
  if (limits_client)
    snprintf(client_bits, sizeof client_bits, "; client_max_window_bits=%u", ret->client.bits);
  snprintf(answer, MB_WEBSOCKET_ANSWER_SIZE, "permessage-deflate%s%s%s%s",
           ret->server.no_context_takeover ? "; server_no_context_takeover" : "",
           ret->client.no_context_takeover ? "; client_no_context_takeover" : "", server_bits,
           client_bits);
}
