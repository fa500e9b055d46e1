/* src/http/http_span.c: the classes of all 256 bytes, and the readers of names, blanks and lists. */
#include "http/http_span.h"

#include <string.h>

#include "../../lib/tap.h"

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS  "0123456789"

static struct mb_span span(const char *text) { return (struct mb_span){text, strlen(text)}; }

static bool among(int c, const char *set) { return c != 0 && strchr(set, c); }

static void classes(void) {
  bool token = true, value = true, target = true, digit = true, hex = true, host = true;
  bool path = true;
  for (int c = 0; c < 256; c++) {
    bool control = c < 0x20 || c == 0x7f, name = among(c, LETTERS DIGITS);
    token &= mb_http_is((char)c, MB_HTTP_TOKEN) == (name || among(c, "!#$%&'*+-.^_`|~"));
    value &= mb_http_is((char)c, MB_HTTP_VALUE) == (!control || c == '\t');
    /* What RFC 3986 has in a URI, but '#'; and what browsers leave as it is in a query. */
    bool uri = name || among(c, "-._~!$&'()*+,;=:@/[]");
    target &= mb_http_is((char)c, MB_HTTP_TARGET) == (uri || among(c, "%?\\^`{|}"));
    path &= mb_http_is((char)c, MB_HTTP_PATH) == uri;
    digit &= mb_http_is((char)c, MB_HTTP_DIGIT) == among(c, DIGITS);
    hex &= mb_http_is((char)c, MB_HTTP_HEX) == among(c, DIGITS "abcdefABCDEF");
    host &= mb_http_is((char)c, MB_HTTP_HOST) == (name || among(c, "-._~!$&'()*+,;=%:"));
  }
  tap_ok(token, "a token holds letters, digits and 15 marks");
  tap_ok(value, "a value holds all but controls; a tab is none");
  tap_ok(target, "a target holds no control, no space, none of \"#<>, nothing above ASCII");
  tap_ok(path, "a path holds less, and '%%' in escapes only");
  tap_ok(digit, "ten digits");
  tap_ok(hex, "22 hexadecimal digits");
  tap_ok(host, "a host holds unreserved, sub-delims, '%%' and ':'");
}

static void all(void) {
  tap_ok(mb_http_all(span("Content-Type"), MB_HTTP_TOKEN), "all are of the class");
  tap_ok(!mb_http_all(span(" x"), MB_HTTP_TOKEN), "the first is not");
  tap_ok(!mb_http_all(span("x "), MB_HTTP_TOKEN), "the last is not");
  tap_ok(mb_http_all(span(""), MB_HTTP_TOKEN), "none are all of any class");
  tap_ok(mb_http_all((struct mb_span){NULL, 0}, MB_HTTP_TOKEN), "without a place, too");
  tap_ok(!mb_http_all((struct mb_span){"\0", 1}, MB_HTTP_VALUE), "NUL is of no class");
}

static void equals(void) {
  tap_ok(mb_http_equals(span("host"), "host"), "the word");
  tap_ok(mb_http_equals(span("hOST"), "host"), "the word in another case");
  tap_ok(!mb_http_equals(span("hos"), "host"), "less than the word");
  tap_ok(!mb_http_equals(span("hosts"), "host"), "more than the word");
  tap_ok(!mb_http_equals(span(""), "host"), "nothing of the word");
  tap_ok(mb_http_equals(span(""), ""), "nothing is the empty word");
  tap_ok(!mb_http_equals((struct mb_span){"host\0x", 6}, "host"), "NUL ends no span");
  tap_ok(!mb_http_equals(span("@"), "`") && !mb_http_equals(span("["), "{"),
         "only letters have another case");
}

static void trims(void) {
  static const char *const cases[][2] = {
      {"a", "a"}, {" \ta b\t ", "a b"}, {"", ""}, {" \t", ""}, {"\ra\n", "\ra\n"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct mb_span got = mb_http_trim(span(cases[i][0]));
    tap_bytes(got.data, got.size, cases[i][1], strlen(cases[i][1]), "trimmed, %d", (int)i);
  }
  tap_int((long long)mb_http_trim((struct mb_span){NULL, 0}).size, 0, "nothing is trimmed, too");
}

static void takes(void) {
  struct mb_span text = span("a:b"), taken = mb_http_take_until(&text, ':');
  tap_bytes(taken.data, taken.size, "a", 1, "what precedes a byte is taken");
  tap_bytes(text.data, text.size, ":b", 2, "the byte is not");
  taken = mb_http_take_until(&text, ':');
  tap_int((long long)taken.size, 0, "nothing precedes it any more");
  taken = mb_http_take(&text, 1);
  tap_bytes(taken.data, taken.size, ":", 1, "so many bytes are taken");
  taken = mb_http_take_until(&text, ':');
  tap_bytes(taken.data, taken.size, "b", 1, "all of them, where the byte is missing");
  tap_int((long long)text.size, 0, "nothing is left");
  struct mb_span nothing = {NULL, 0};
  tap_int((long long)mb_http_take_until(&nothing, ':').size, 0, "nothing is taken of nothing");
}

static void hex(void) {
  bool same = true;
  for (int c = 0; c < 256; c++) {
    const char *at = among(c, "0123456789abcdef") ? strchr("0123456789abcdef", c) : NULL;
    int want = at ? (int)(at - strchr("0123456789abcdef", '0')) : -1;
    if (c >= 'A' && c <= 'F') want = 10 + c - 'A';
    same &= mb_http_hex((char)c) == want;
  }
  tap_ok(same, "hexadecimal digits have their value, all else -1");
}

static void lists(void) {
  static const char *const cases[][2] = {
      {"", ""},
      {",", ""},
      {" , ,\t,", ""},
      {"a", "a|"},
      {"a,b", "a|b|"},
      {" a b , c\t,", "a b|c|"},
      {",,a,,b", "a|b|"},
      {"\"a,b\",c", "\"a,b\"|c|"},
      {"x=\"a\\\",b\",c", "x=\"a\\\",b\"|c|"},
      {"\"\\\\\",c", "\"\\\\\"|c|"},
      {"\\\"a,b\"", "\\\"a,b\"|"}, /* a backslash means nothing outside of quotes */
      {"\"a,b", "\"a,b|"},
      {"\"a\\", "\"a\\|"},
      {"a,\"\"", "a|\"\"|"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct mb_span list = span(cases[i][0]), element;
    char got[64] = "";
    while (mb_http_list_next(&list, &element)) {
      strncat(got, element.data, element.size);
      strcat(got, "|");
    }
    tap_str(got, cases[i][1], "list: %s", cases[i][0]);
  }
}

int main(void) {
  classes();
  all();
  equals();
  takes();
  trims();
  hex();
  lists();
  return tap_done();
}
