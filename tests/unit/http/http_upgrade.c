/* src/http/http_upgrade.c: which requests may be answered by a 101, and with which protocols. */
#include "http/http_upgrade.h"

#include <stdio.h>
#include <string.h>

#include "../../lib/tap.h"

#define OLD    "an HTTP/1.0 client cannot change the protocol"
#define NONE   "the client has not sent Upgrade"
#define HIDDEN "the client has sent Upgrade without Connection: upgrade"

/* Reads a request with these fields. */
static void read(const char *version, const char *fields, struct mb_http_head *ret) {
  static char data[512];
  struct mb_http_refusal refusal;
  int size = snprintf(data, sizeof data, "GET / HTTP/%s\r\nHost: a\r\n%s\r\n", version, fields);
  if (!mb_http_head_parse(data, (size_t)size, ret, &refusal)) tap_bail(refusal.why);
}

static void requests(void) {
  static const char *const cases[][3] = {
      {"1.1", "Upgrade: a\r\nConnection: upgrade\r\n", NULL},
      {"1.1", "connection: x,\tUPGRADE\r\nuPGRADE: , A/1\r\n", NULL},
      {"1.1", "Upgrade:\r\nConnection: x\r\nUpgrade: a\r\nConnection: upgrade\r\n", NULL},
      {"1.0", "Upgrade: a\r\nConnection: upgrade\r\n", OLD},
      {"1.1", "", NONE},
      {"1.1", "Connection: upgrade\r\n", NONE},
      {"1.1", "Upgrade:\r\nConnection: upgrade\r\n", NONE},
      {"1.1", "Upgrade: ,\r\nConnection: upgrade\r\n", NONE},
      {"1.1", "X-Upgrade: a\r\nConnection: upgrade\r\n", NONE},
      {"1.1", "Upgrade: a\r\n", HIDDEN},
      {"1.1", "Upgrade: a\r\nConnection: upgrades, xupgrade, close\r\n", HIDDEN},
      {"1.1", "Upgrade: upgrade\r\nConnection: keep-alive\r\n", HIDDEN},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct mb_http_head head;
    read(cases[i][0], cases[i][1], &head);
    tap_str(mb_http_upgrade_wrong(&head), cases[i][2], "HTTP/%s, %s", cases[i][0],
            tap_printable(cases[i][1], strlen(cases[i][1])));
  }
}

static void protocols(void) {
  static const struct {
    const char *named;
    bool offered;
  } cases[] = {
      {"websocket", true}, {"WebSocket", true},   {"b/2", true},    {"b/2 , c", true},
      {",c,", true},       {"", false},           {",", false},     {"d", false},
      {"b", false},        {"b/3", false},        {"c/1", false},   {"websocket, d", false},
      {"web", false},      {"websockets", false}, {"\"c\"", false},
  };
  struct mb_http_head head;
  read("1.1", "Upgrade: websocket, B/2\r\nUpgrade: c\r\nConnection: upgrade\r\nX: d\r\n", &head);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct mb_span named = {cases[i].named, strlen(cases[i].named)};
    tap_ok(mb_http_upgrade_offered(&head, named) == cases[i].offered, "%s: %s", cases[i].named,
           cases[i].offered ? "offered" : "not offered");
  }
}

int main(void) {
  requests();
  protocols();
  return tap_done();
}
