/* src/http/http_coding.c: which content codings a client takes. */
#include "http/http_coding.h"

#include <stdio.h>
#include <string.h>

#include "../../lib/tap.h"

static const struct {
  const char *fields;
  unsigned gzip, br;
} cases[] = {
    {"", 0, 0},
    {"Accept-Encoding: \r\n", 0, 0},
    {"Accept-Encoding: gzip\r\n", 1000, 0},
    {"Accept-Encoding: GZIP, Br\r\n", 1000, 1000},
    {"Accept-Encoding: x-gzip\r\n", 1000, 0},
    {"Accept-Encoding: gzip;q=0\r\n", 0, 0},
    {"Accept-Encoding: gzip;q=0.0, br\r\n", 0, 1000},
    {"Accept-Encoding: gzip;q=0.5, br;q=0.75\r\n", 500, 750},
    {"Accept-Encoding: gzip ; q=0.123 ,br; Q=1.000\r\n", 123, 1000},
    {"Accept-Encoding: gzip;q=1,br;q=0.001\r\n", 1000, 1},
    {"Accept-Encoding: *\r\n", 1000, 1000},
    {"Accept-Encoding: *;q=0.5, gzip;q=0\r\n", 0, 500},
    {"Accept-Encoding: gzip;q=0.2, *;q=0\r\n", 200, 0},
    {"Accept-Encoding: identity\r\n", 0, 0},
    {"Accept-Encoding: gzipped, brr, xgzip\r\n", 0, 0},
    {"Accept-Encoding: gzip\r\nAccept-Encoding: br;q=0.5\r\n", 1000, 500},
    /* a malformed weight is none */
    {"Accept-Encoding: gzip;q=2, br;q=1.5\r\n", 0, 0},
    {"Accept-Encoding: gzip;q=, br;q=-1\r\n", 0, 0},
    {"Accept-Encoding: gzip;q=0.1234, br;q=.5\r\n", 0, 0},
    {"Accept-Encoding: gzip;q=0x1, br;q=1.0a\r\n", 0, 0},
    {"Accept-Encoding: gzip;a=b, br;a=b;q=0.5\r\n", 1000, 500},
    {"Accept-Encoding: gzip;;q=0.5;, br;\r\n", 500, 1000},
};

int main(void) {
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct mb_http_head head;
    struct mb_http_refusal refusal;
    char text[512];
    int size = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", cases[i].fields);
    if (!mb_http_head_parse(text, (size_t)size, &head, &refusal)) tap_bail(refusal.why);
    const char *name = tap_printable(cases[i].fields, strlen(cases[i].fields));
    tap_int(mb_http_coding_weight(&head, "gzip"), cases[i].gzip, "gzip: %s", name);
    tap_int(mb_http_coding_weight(&head, "br"), cases[i].br, "br: %s", name);
  }
  return tap_done();
}
