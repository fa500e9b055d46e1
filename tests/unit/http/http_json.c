/* src/http/http_json.c: what a decoder of JSON has to be told about a text. */
#include "http/http_json.h"

#include <stdio.h>
#include <string.h>

#include "../../lib/tap.h"

#define LONG32 "abcdefghijklmnopqrstuvwxyz012345"

/* Checks what is found in a text: for each thing a letter, c(ontrol), n(umber), m(ember's name) or s(tring), and its place.
 */
static void finds_in(const char *text, size_t size, const char *want) {
  char got[200] = "";
  size_t at = 0, length = 0;
  struct mb_span part, all = {text, size};
  enum mb_http_json_kind kind;
  while ((kind = mb_http_json_next(all, &at, &part)) != MB_HTTP_JSON_NOTHING && length < 150) {
    length += (size_t)snprintf(got + length, sizeof got - length, "%c%d+%d ", "?cwnms"[kind],
                               (int)(part.data - text), (int)part.size);
  }
  tap_str(got, want, "in %s", tap_printable(text, size));
  tap_int((long long)at, (long long)size, "all of it was looked at");
}

static void finds(const char *text, const char *want) { finds_in(text, strlen(text), want); }

/* A number of so many digits. */
static void digits(int count, const char *want) {
  char text[400];
  memset(text, '7', (size_t)count);
  finds_in(text, (size_t)count, want);
}

int main(void) {
  finds("", "");
  finds("{\"a\": [1, -2.5, true, null, \"b\"]}\t\r\n", "");
  finds("1e5", "n0+3 ");
  finds("[-1E5,1.5e-9]", "n1+4 n6+6 ");
  static const char *const good[] = {"0", "-0", "10", "1.5", "-0.0", "7.00", "1,2", "[-1]"};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) finds(good[i], "");
  static const char *const wrong[] = {"-",   "01",  "-01", "1.",   "-.5",  "1.e5",  "1e",
                                      "1e+", "1-2", "1+",  "1..2", "1e5e", "1.2.3", "--1"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    char want[32];
    snprintf(want, sizeof want, "w0+%zu ", strlen(wrong[i]));
    finds(wrong[i], want);
  }
  finds("[1.]", "w1+2 ");
  finds("\"1e5\"", "");
  digits(308, "");
  digits(309, "n0+309 ");
  finds("\"" LONG32 "\"", "s1+32 ");
  finds("\"bcdefghijklmnopqrstuvwxyz012345\"", "");
  finds("{\"" LONG32 "\" \n:\"" LONG32 "\"}", "m2+32 s39+32 ");
  finds("\"" LONG32 "\\\"\"", "s1+34 ");
  finds("\"" LONG32 "\\\\\"1e5", "s1+34 n36+3 ");
  finds("\"" LONG32, "");
  finds("\"" LONG32 "\\", "");
  finds("\"\\", "");
  finds("\"", "");
  finds("\"a\tb\"", "c2+1 ");
  finds("\"a\n", "c2+1 ");
  finds("\"\\\n\"", "c2+1 ");
  finds("\x01[\x1f]", "c0+1 c2+1 ");
  finds("\x7f\xff", "");
  finds_in("[1]\0junk", 8, "c3+1 ");
  finds_in("\"\0\"", 3, "c1+1 ");
  return tap_done();
}
