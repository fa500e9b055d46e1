/* src/http/http_form.c: queries, forms, cookies, percent-encoding and text for HTML. */
#include "http/http_form.h"

#include <stdlib.h>
#include <string.h>

#include "../../lib/tap.h"

#define SPAN(text) ((struct mb_span){text, sizeof(text) - 1})

typedef bool next_function(struct mb_span *, struct mb_span *, struct mb_span *);

static void note(char *to, size_t *size, const char *data, size_t count) {
  memcpy(to + *size, data, count);
  *size += count;
}

/* Checks all pairs, as "name=value;". The text is in memory of exactly its size. */
static void pairs(next_function *next, struct mb_span text, struct mb_span want, const char *what) {
  char got[256];
  size_t size = 0;
  char *copy = malloc(text.size + 1);
  if (!copy) tap_bail("no memory");
  memcpy(copy + 1, text.data, text.size);
  struct mb_span rest = {copy + 1, text.size}, name, value;
  while (next(&rest, &name, &value)) {
    if (!name.data || !value.data) tap_bail("a span without data");
    note(got, &size, "<", 1);
    note(got, &size, name.data, name.size);
    note(got, &size, "=", 1);
    note(got, &size, value.data, value.size);
    note(got, &size, ">", 1);
  }
  tap_bytes(got, size, want.data, want.size, "%s", what);
  tap_int((long long)rest.size, 0, "%s: all is taken", what);
  tap_ok(!next(&rest, &name, &value), "%s: there is no more", what);
  free(copy);
}

#define FORM(text, want, what)   pairs(mb_form_next, SPAN(text), SPAN(want), what)
#define COOKIE(text, want, what) pairs(mb_cookie_next, SPAN(text), SPAN(want), what)

static void forms(void) {
  FORM("", "", "nothing");
  FORM("a=1", "<a=1>", "one pair");
  FORM("a=1&b=2&a=3", "<a=1><b=2><a=3>", "several pairs, in their order");
  FORM("a&b=&c", "<a=><b=><c=>", "no value is the empty value");
  FORM("=b", "<=b>", "a name may be empty");
  FORM("=", "<=>", "both may be empty");
  FORM("&&a=1&&&b=2&&", "<a=1><b=2>", "empty pieces are passed over");
  FORM("&", "", "an ampersand alone");
  FORM("a=b=c==", "<a=b=c==>", "the first equals sign separates");
  FORM("a+b=%26%3D+&c;d=1", "<a+b=%26%3D+><c;d=1>", "nothing is decoded, a semicolon is text");
  FORM("a\0=\0&?=\xff", "<a\0=\0><?=\xff>", "any byte is text");
  struct mb_span none = {NULL, 0}, name, value;
  tap_ok(!mb_form_next(&none, &name, &value), "a form without data");
  tap_ok(!mb_cookie_next(&none, &name, &value), "cookies without data");
}

static void cookies(void) {
  COOKIE("", "", "no cookies");
  COOKIE("a=1", "<a=1>", "one cookie");
  COOKIE("a=1; b=2;c=3", "<a=1><b=2><c=3>", "several cookies");
  COOKIE(" \ta = 1 ;\t", "<a=1>", "cookie between blanks");
  COOKIE("a=1; a=2", "<a=1><a=2>", "a name twice: both are reported");
  COOKIE("a=\"x y\"", "<a=\"x y\">", "quotes stay");
  COOKIE("a=\"x;y=z\"", "<a=\"x><y=z\">", "quotes do not hide a semicolon");
  COOKIE("a=b=c==", "<a=b=c==>", "the first equals sign separates in cookies");
  COOKIE("a=; b", "<a=>", "a value may be empty, but not missing");
  COOKIE("flag; =x; a=1; = ;;  ;", "<a=1>", "pieces without equals sign or name are passed over");
  COOKIE("a=1, b=2", "<a=1, b=2>", "a comma is text");
  COOKIE("a=%41+", "<a=%41+>", "nothing is decoded in cookies");
}

static void decoded(struct mb_span from, bool plus, struct mb_span want, const char *what) {
  char *to = malloc(from.size + 1);
  if (!to) tap_bail("no memory");
  size_t size = mb_form_decode(to + 1, from, plus);
  tap_bytes(to + 1, size, want.data, want.size, "%s", what);
  memcpy(to + 1, from.data, from.size);
  size = mb_form_decode(to + 1, (struct mb_span){to + 1, from.size}, plus);
  tap_bytes(to + 1, size, want.data, want.size, "%s, in place", what);
  free(to);
}

static void decoding(void) {
  decoded(SPAN(""), true, SPAN(""), "decoding nothing");
  decoded(SPAN("abc"), true, SPAN("abc"), "text without escapes");
  decoded(SPAN("a+b+"), true, SPAN("a b "), "a plus is a space");
  decoded(SPAN("a+b+"), false, SPAN("a+b+"), "or stays");
  decoded(SPAN("%2B%2b%20"), true, SPAN("++ "), "escaped plus and space");
  decoded(SPAN("%41%4a%4A%00%fF"), true, SPAN("AJJ\0\xff"), "escapes of any case and byte");
  decoded(SPAN("%"), true, SPAN("%"), "a percent sign alone stays");
  decoded(SPAN("%4"), true, SPAN("%4"), "so does half an escape");
  decoded(SPAN("%zz%4g%g4"), true, SPAN("%zz%4g%g4"), "and one of other characters");
  decoded(SPAN("%%41%4%41"), true, SPAN("%A%4A"), "an escape behind a bad one");
  decoded(SPAN("%2541"), true, SPAN("%41"), "what was decoded is not decoded again");
  decoded(SPAN("%+1%4+"), true, SPAN("% 1%4 "), "a plus in a bad escape");
}

static void encoding(void) {
  char all[256], encoded[768], again[768];
  for (int i = 0; i < 256; i++) all[i] = (char)i;
  size_t size = mb_form_encode(encoded, (struct mb_span){all, 256});
  tap_int((long long)size, 66 + 3 * (256 - 66), "66 bytes are unreserved, the others escaped");
  size_t back = mb_form_decode(again, (struct mb_span){encoded, size}, true);
  tap_bytes(again, back, all, 256, "decoding gives all bytes back");
  size = mb_form_encode(encoded, SPAN("AZaz09-._~"));
  tap_bytes(encoded, size, "AZaz09-._~", 10, "what stays");
  size = mb_form_encode(encoded, SPAN(" /?+%\xc3\xa4\0"));
  tap_bytes(encoded, size, "%20%2F%3F%2B%25%C3%A4%00", 24, "what does not, in upper case");
  tap_int((long long)mb_form_encode(encoded, SPAN("")), 0, "encoding nothing");
}

static void html(void) {
  char to[64];
  size_t size = mb_html_encode(to, SPAN("<a href=\"x\">&'\0\xc3\xa4;"));
  static const char want[] = "&lt;a href=&quot;x&quot;&gt;&amp;&#39;\0\xc3\xa4;";
  tap_bytes(to, size, want, sizeof want - 1, "the five characters of HTML");
  size = mb_html_encode(to, SPAN("&amp;"));
  tap_bytes(to, size, "&amp;amp;", 9, "references are text, too");
  tap_int((long long)mb_html_encode(to, SPAN("\"\"\"\"\"\"\"\"\"\"")), 60, "at most six for one");
  tap_int((long long)mb_html_encode(to, SPAN("")), 0, "HTML of nothing");
}

int main(void) {
  forms();
  cookies();
  decoding();
  encoding();
  html();
  return tap_done();
}
