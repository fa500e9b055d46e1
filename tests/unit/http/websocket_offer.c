/* src/http/websocket_offer.c: which offers of permessage-deflate are agreed to, and how (RFC 7692, section 7.1). */
#include "http/websocket_offer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/tap.h"

#define PD "permessage-deflate"

/*
 * Reads offers from memory of exactly their size. Writes the answer to the first that can be agreed to, "none" or
 * "malformed". Returns the terms.
 */
static struct mb_websocket_terms answer_to(const char *offers, unsigned bits, bool forgets,
                                           char answer[MB_WEBSOCKET_ANSWER_SIZE]) {
  struct mb_websocket_terms terms = {.server = {.bits = 0}};
  struct mb_websocket_offer offer;
  size_t size = strlen(offers);
  char *copy = malloc(size > 0 ? size : 1);
  if (!copy) tap_bail("no memory");
  if (size > 0) memcpy(copy, offers, size);
  struct mb_span list = {copy, size};
  int r = mb_websocket_offer_next(&list, &offer);
  if (r > 0) {
    mb_websocket_agree(&offer, bits, forgets, &terms, answer);
  } else {
    snprintf(answer, MB_WEBSOCKET_ANSWER_SIZE, "%s", r == 0 ? "none" : "malformed");
  }
  free(copy);
  return terms;
}

static void answers(void) {
  static const struct {
    const char *offers, *answer;
  } cases[] = {
      /* what may be offered, in its spellings */
      {PD, PD},
      {"", "none"},
      {" , ,", "none"},
      {"x-webkit-deflate-frame", "none"},
      {"Permessage-Deflate", "none"},
      {PD "-more", "none"},
      {"foo, bar; baz=1, " PD, PD},
      {"foo;bar=\"a,b\"", "malformed"}, /* a quoted value has to be a token, too */
      {"foo;bar=\"" PD "\"", "none"},
      {"\t" PD " ;server_no_context_takeover\t", PD "; server_no_context_takeover"},
      {PD ";client_no_context_takeover", PD "; client_no_context_takeover"},
      {PD "; client_max_window_bits; client_no_context_takeover; server_max_window_bits=9; "
          "server_no_context_takeover",
       PD "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; "
          "client_max_window_bits=12"},
      {PD "; server_max_window_bits=8", PD "; server_max_window_bits=8"},
      {PD "; server_max_window_bits=10", PD "; server_max_window_bits=10"},
      {PD "; server_max_window_bits=15", PD "; server_max_window_bits=12"},
      {PD "; server_max_window_bits = 11", PD "; server_max_window_bits=11"},
      {PD "; server_max_window_bits=\"11\"", PD "; server_max_window_bits=11"},
      {PD "; server_max_window_bits=\"\\1\\1\"", PD "; server_max_window_bits=11"},
      {PD "; client_max_window_bits", PD "; client_max_window_bits=12"},
      {PD "; client_max_window_bits=8", PD "; client_max_window_bits=8"},
      {PD "; client_max_window_bits=15", PD "; client_max_window_bits=12"},
      /* what has to be declined */
      {PD "; server_max_window_bits", "none"},
      {PD "; server_max_window_bits=7", "none"},
      {PD "; server_max_window_bits=16", "none"},
      {PD "; server_max_window_bits=08", "none"},
      {PD "; server_max_window_bits=4294967306", "none"},
      {PD "; server_max_window_bits=1x", "none"},
      {PD "; server_max_window_bits=-9", "none"},
      {PD "; client_max_window_bits=7", "none"},
      {PD "; client_max_window_bits=16", "none"},
      {PD "; client_max_window_bits=\"010\"", "none"},
      {PD "; server_no_context_takeover=1", "none"},
      {PD "; client_no_context_takeover=\"true\"", "none"},
      {PD "; server_no_context_takeover; server_no_context_takeover", "none"},
      {PD "; client_no_context_takeover; client_no_context_takeover", "none"},
      {PD "; client_max_window_bits; client_max_window_bits", "none"},
      {PD "; client_max_window_bits=9; client_max_window_bits", "none"},
      {PD "; server_max_window_bits=9; server_max_window_bits=9", "none"},
      {PD "; Server_max_window_bits=9", "none"},
      {PD "; unknown", "none"},
      {PD "; unknown=1; client_max_window_bits", "none"},
      /* the next offer is looked at then; the first that is good is taken */
      {PD "; unknown, " PD "; client_max_window_bits=10", PD "; client_max_window_bits=10"},
      {PD "; server_max_window_bits=7," PD, PD},
      {PD "; server_max_window_bits=9, " PD, PD "; server_max_window_bits=9"},
      {PD "; client_max_window_bits=\"1,0\", " PD, "malformed"},
      /* what is not of the grammar (RFC 6455, section 9.1) */
      {PD ";", "malformed"},
      {PD "; ;client_max_window_bits", "malformed"},
      {PD "; =", "malformed"},
      {PD "; client_max_window_bits=", "malformed"},
      {PD "; client_max_window_bits=\"\"", "malformed"},
      {PD "; client_max_window_bits=\"9", "malformed"},
      {PD "; client_max_window_bits=\"9\\", "malformed"},
      {PD "; client_max_window_bits=\"9\\\"", "malformed"},
      {PD "; client_max_window_bits=\"9 \"", "malformed"},
      {PD "; client_max_window_bits=\"9\"9", "malformed"},
      {PD "; client_max_window_bits 9", "malformed"},
      {PD "; client_max_window_bits==9", "malformed"},
      {PD " foo", "malformed"},
      {PD "=9", "malformed"},
      {"\"" PD "\"", "malformed"},
      {"; " PD, "malformed"},
      {"foo; unknown=, " PD, "malformed"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char answer[MB_WEBSOCKET_ANSWER_SIZE];
    answer_to(cases[i].offers, 12, false, answer);
    tap_str(answer, cases[i].answer, "%s", tap_printable(cases[i].offers, strlen(cases[i].offers)));
  }
}

/* What we wish, and what is kept to. */
static void terms(void) {
  static const struct {
    const char *offers;
    unsigned bits;
    bool forgets;
    const char *answer;
    struct mb_websocket_terms terms;
  } cases[] = {
      {PD, 12, false, PD, {{false, 12}, {false, 15}}},
      {PD,
       12,
       true,
       PD "; server_no_context_takeover; client_no_context_takeover",
       {{true, 12}, {true, 15}}},
      {PD "; client_max_window_bits", 15, false, PD, {{false, 15}, {false, 15}}},
      {PD "; client_max_window_bits=14",
       15,
       false,
       PD "; client_max_window_bits=14",
       {{false, 15}, {false, 14}}},
      {PD "; client_max_window_bits",
       9,
       false,
       PD "; client_max_window_bits=9",
       {{false, 9}, {false, 9}}},
      {PD "; server_max_window_bits=15",
       15,
       false,
       PD "; server_max_window_bits=15",
       {{false, 15}, {false, 15}}},
      {PD "; server_max_window_bits=8; client_max_window_bits=8",
       12,
       false,
       PD "; server_max_window_bits=8; client_max_window_bits=8",
       {{false, 8}, {false, 8}}},
      {PD "; server_no_context_takeover; server_max_window_bits=10; client_max_window_bits=10",
       9,
       true,
       PD "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; "
          "client_max_window_bits=9",
       {{true, 9}, {true, 9}}},
      {PD "; client_no_context_takeover",
       15,
       false,
       PD "; client_no_context_takeover",
       {{false, 15}, {true, 15}}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char answer[MB_WEBSOCKET_ANSWER_SIZE];
    struct mb_websocket_terms got =
        answer_to(cases[i].offers, cases[i].bits, cases[i].forgets, answer);
    tap_str(answer, cases[i].answer, "with %u bits wished: %s", cases[i].bits, cases[i].offers);
    tap_int(got.server.bits, cases[i].terms.server.bits, "the server's bits");
    tap_int(got.client.bits, cases[i].terms.client.bits, "the client's bits");
    tap_ok(got.server.no_context_takeover == cases[i].terms.server.no_context_takeover &&
               got.client.no_context_takeover == cases[i].terms.client.no_context_takeover,
           "who takes nothing over");
  }
}

int main(void) {
  answers();
  terms();
  return tap_done();
}
