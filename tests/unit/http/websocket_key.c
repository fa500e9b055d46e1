/* src/http/websocket_key.c: which keys are keys, and the answer to one. */
#include "http/websocket_key.h"

#include <string.h>

#include "../../lib/tap.h"

static struct mb_span span(const char *text) { return (struct mb_span){text, strlen(text)}; }

static void keys(void) {
  static const struct {
    const char *key;
    bool good;
  } cases[] = {
      {"dGhlIHNhbXBsZSBub25jZQ==", true},
      {"AAAAAAAAAAAAAAAAAAAAAA==", true},
      {"/////////////////////w==", true},
      {"++++++++++++++++++++++==", false}, /* bits are left over */
      {"dGhlIHNhbXBsZSBub25jZR==", false},
      {"dGhlIHNhbXBsZSBub25jZQ=", false},
      {"dGhlIHNhbXBsZSBub25jZQ", false},
      {"dGhlIHNhbXBsZSBub25jZQ===", false},
      {"dGhlIHNhbXBsZSBub25jZWE=", false}, /* 17 bytes */
      {"dGhlIHNhbXBsZSBub25j====", false},
      {"dGhlIHNhbXBsZSBub25jZ===", false},
      {" dGhlIHNhbXBsZSBub25jZQ=", false},
      {"dGhlIHNhbXBsZSBub25jZQ= ", false},
      {"dGhlIHNhb-BsZSBub25jZQ==", false}, /* of base64url */
      {"dGhlIHNhb_BsZSBub25jZQ==", false},
      {"dGhl\xc3\xa4HNhbXBsZSBub25jQ==", false},
      {"", false},
      {"==", false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    tap_ok(mb_websocket_is_key(span(cases[i].key)) == cases[i].good, "\"%s\" %s", cases[i].key,
           cases[i].good ? "is a key" : "is none");
  char with_nul[] = "dGhlIHNhbXBsZSBub25jZQ==";
  with_nul[7] = '\0';
  tap_ok(!mb_websocket_is_key((struct mb_span){with_nul, sizeof with_nul - 1}), "NUL is no digit");
  tap_ok(!mb_websocket_is_key((struct mb_span){NULL, 0}), "nothing is no key");
  int last = 0;
  for (int c = 1; c < 256; c++) {
    char key[] = "AAAAAAAAAAAAAAAAAAAAAA==";
    key[21] = (char)c;
    last += mb_websocket_is_key(span(key));
  }
  tap_int(last, 4, "the last digit has two bits");
}

/* The answers of other implementations: RFC 6455, sections 1.3 and 4.2.2; Python's hashlib and base64. */
static void answers(void) {
  static const char *const cases[][2] = {
      {"dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
      {"AAAAAAAAAAAAAAAAAAAAAA==", "ICX+Yqv66kxgM0FcWaLWlFLwTAI="},
      {"/////////////////////w==", "XXpj4jYzLM2yUE0C7TIgMwTQh2g="},
      {"x3JJHMbDL1EzLkh9GBhXDw==", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char to[MB_WEBSOCKET_ACCEPT_SIZE + 2];
    memset(to, '!', sizeof to);
    mb_websocket_accept(span(cases[i][0]), to);
    tap_bytes(to, MB_WEBSOCKET_ACCEPT_SIZE, cases[i][1], strlen(cases[i][1]), "the answer to %s",
              cases[i][0]);
    tap_int(to[MB_WEBSOCKET_ACCEPT_SIZE], '!', "nothing is written behind it");
  }
}

int main(void) {
  keys();
  answers();
  return tap_done();
}
