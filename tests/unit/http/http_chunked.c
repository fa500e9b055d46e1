/* src/http/http_chunked.c: content, and refusals with their reasons, however the bytes come and go. */
#include "http/http_chunked.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/tap.h"

struct run {
  struct mb_http_chunked state;
  char content[64];
  size_t content_size;
  size_t used; /* bytes that were dealt with */
  struct mb_http_refusal refusal;
};

static void add_content(struct run *r, const char *data, size_t size) {
  if (r->content_size + size > sizeof r->content) tap_bail("more content than a case has");
  memcpy(r->content + r->content_size, data, size);
  r->content_size += size;
}

/* Feeds the bytes in memory of exactly their size; takes at most take_most bytes of content at once. */
static void feed(struct run *r, const char *data, size_t size, size_t take_most) {
  if (r->refusal.status) return;
  char *copy = malloc(size > 0 ? size : 1);
  if (!copy) tap_bail("no memory");
  if (size > 0) memcpy(copy, data, size);
  size_t at = 0, content;
  do {
    size_t framing;
    if (!mb_http_chunked_next(&r->state, copy + at, size - at, &framing, &content, &r->refusal)) {
      break;
    }
    if (framing > size - at || content > size - at - framing) tap_bail("more than there is");
    at += framing;
    if (content > take_most) content = take_most;
    add_content(r, copy + at, content);
    mb_http_chunked_take(&r->state, content);
    at += content;
  } while (content > 0);
  bool ended = mb_http_chunked_ended(&r->state);
  if (!r->refusal.status && !ended && at < size) tap_bail("stopped for no reason");
  r->used += at;
  free(copy);
}

/* Does not compare `used`: how many bytes were used before a refusal depends on the pieces. */
static bool same(const struct run *a, const struct run *b) {
  return a->content_size == b->content_size && a->refusal.status == b->refusal.status &&
         memcmp(a->content, b->content, a->content_size) == 0 && a->refusal.why == b->refusal.why &&
         (a->refusal.status || a->used == b->used) &&
         mb_http_chunked_ended(&a->state) == mb_http_chunked_ended(&b->state);
}

static struct run decode(const char *data, size_t size, const char *what) {
  struct run whole = {.state = MB_HTTP_CHUNKED_INIT};
  feed(&whole, data, size, size);
  for (int single = 0; single < 2; single++) {
    size_t most = single ? 1 : size;
    struct run bytes = {.state = MB_HTTP_CHUNKED_INIT};
    for (size_t i = 0; i < size; i++) feed(&bytes, data + i, 1, most);
    if (!same(&whole, &bytes)) tap_ok(false, "%s: the same byte by byte", what);
    for (size_t split = 0; split <= size; split++) {
      struct run parts = {.state = MB_HTTP_CHUNKED_INIT};
      feed(&parts, data, split, most);
      feed(&parts, data + split, size - split, most);
      if (!same(&whole, &parts)) tap_ok(false, "%s: the same when split at %zu", what, split);
    }
  }
  return whole;
}

#define END     "0\r\n\r\n"
#define S(text) text, sizeof text - 1

static void accepted(void) {
  static const struct {
    const char *what, *data;
    size_t size;
    const char *content;
    size_t rest; /* bytes behind the end */
  } cases[] = {
      {"no content", S(END), "", 0},
      {"one chunk", S("3\r\nabc\r\n" END), "abc", 0},
      {"several chunks", S("3\r\nabc\r\n1\r\nd\r\n2\r\nef\r\n" END), "abcdef", 0},
      {"what looks like framing", S("7\r\n0\r\n\r\n\r\n\r\n" END), "0\r\n\r\n\r\n", 0},
      {"line ends and NUL", S("4\r\n\r\n\0\n\r\n" END), "\r\n\0\n", 0},
      {"digits in both cases",
       S("a\r\n0123456789\r\nA\r\n0123456789\r\n0c\r\n0123456789ab\r\n" END),
       "012345678901234567890123456789ab", 0},
      {"zeros in front", S("0000000000000000000003\r\nabc\r\n000\r\n\r\n"), "abc", 0},
      {"extensions", S("3;a\r\nabc\r\n1;b=c;d=\"e;f\"\r\nd\r\n0;g\r\n\r\n"), "abcd", 0},
      {"blanks in extensions", S("3 \t ; a = b\t;\tc ; d =\"e\" \r\nabc\r\n" END), "abc", 0},
      {"blanks behind a size", S("3  \r\nabc\r\n1\t\r\nd\r\n0 \r\n\r\n"), "abcd", 0},
      {"any quoted value", S("3;a=\"\";b=\";\\\"\\\\ \t\xc3\xa4\\a\"\r\nabc\r\n" END), "abc", 0},
      {"any token", S("3;!#$%&'*+-.^_`|~9=!#$%&'*+-.^_`|~9\r\nabc\r\n" END), "abc", 0},
      {"trailers", S("3\r\nabc\r\n0\r\na:\r\nB-c: \td\xff:\r\n\r\n"), "abc", 0},
      {"trailers are no framing", S("0\r\nContent-Length: 5\r\n\r\nabcde"), "", 5},
      {"the next request", S("1\r\na\r\n" END "GET"), "a", 3},
      {"line ends behind the end", S(END "\r\n"), "", 2},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct run r = decode(cases[i].data, cases[i].size, cases[i].what);
    tap_str(r.refusal.why, NULL, "%s: taken", cases[i].what);
    tap_ok(mb_http_chunked_ended(&r.state), "ended");
    tap_int((long long)(cases[i].size - r.used), (long long)cases[i].rest, "where it ends");
    size_t size = i == 4 ? 4 : strlen(cases[i].content);
    tap_bytes(r.content, r.content_size, cases[i].content, size, "the content");
  }
}

static void incomplete(void) {
  static const char data[] = "3 ; x\r\nabc\r\n1\r\nd\r\n0\r\na: b\r\n\r\n";
  bool open = true;
  for (size_t size = 0; size < sizeof data - 1; size++) {
    struct run r = decode(data, size, "incomplete");
    open &= !r.refusal.status && !mb_http_chunked_ended(&r.state) && r.used == size;
  }
  tap_ok(open, "no part of a body is a whole one, and none is refused");
}

#define BARE_LF   "bare LF in a chunked body"
#define BARE_CR   "bare CR in a chunked body"
#define LONGER    "chunk that is longer than its size"
#define LARGE     "chunk size that is too large"
#define SIZE      "bad chunk size"
#define NAME      "bad character in the name of a trailer field"
#define EXTENSION "bad chunk extension"
#define CONTROL   "control character in a chunk extension"

static void refused(void) {
  static const struct {
    const char *data;
    size_t size;
    const char *why, *content;
  } cases[] = {
      {S("\r\n"), SIZE, ""},
      {S(";a\r\n"), SIZE, ""},
      {S(" 3\r\n"), SIZE, ""},
      {S("-3\r\n"), SIZE, ""},
      {S("+3\r\n"), SIZE, ""},
      {S("0x3\r\n"), SIZE, ""},
      {S("g\r\n"), SIZE, ""},
      {S("3g\r\n"), SIZE, ""},
      {S("3_0\r\n"), SIZE, ""},
      {S("3,3\r\n"), SIZE, ""},
      {S("3\0\r\n"), SIZE, ""},
      {S("3 3\r\n"), EXTENSION, ""},
      {S("3;\r\n"), EXTENSION, ""},
      {S("3; \r\n"), EXTENSION, ""},
      {S("3;;\r\n"), EXTENSION, ""},
      {S("3;;a\r\n"), EXTENSION, ""},
      {S("3;a;\r\n"), EXTENSION, ""},
      {S("3;=b\r\n"), EXTENSION, ""},
      {S("3;a=\r\n"), EXTENSION, ""},
      {S("3;a= \r\n"), EXTENSION, ""},
      {S("3;a=;b\r\n"), EXTENSION, ""},
      {S("3;a==b\r\n"), EXTENSION, ""},
      {S("3;a=b=c\r\n"), EXTENSION, ""},
      {S("3;a=b c\r\n"), EXTENSION, ""},
      {S("3;a=b =c\r\n"), EXTENSION, ""},
      {S("3;[]\r\n"), EXTENSION, ""},
      {S("3;a[]\r\n"), EXTENSION, ""},
      {S("3;a b\r\n"), EXTENSION, ""},
      {S("3;a b=c\r\n"), EXTENSION, ""},
      {S("3;a=[]\r\n"), EXTENSION, ""},
      {S("3;a,b\r\n"), EXTENSION, ""},
      {S("3;a\"b\"\r\n"), EXTENSION, ""},
      {S("3;\"a\"\r\n"), EXTENSION, ""},
      {S("3;a=b\"c\"\r\n"), EXTENSION, ""},
      {S("3;a=\"b\r\n"), EXTENSION, ""},
      {S("3;a=\"b\\\"\r\n"), EXTENSION, ""},
      {S("3;a=\"b\\\r\n"), EXTENSION, ""},
      {S("3;a=\"b\"c\r\n"), EXTENSION, ""},
      {S("3;a=\"b\" c\r\n"), EXTENSION, ""},
      {S("3;a=\"b\"=c\r\n"), EXTENSION, ""},
      {S("3;\xc3\xa4\r\n"), EXTENSION, ""},
      {S("0;;\r\n\r\n"), EXTENSION, ""},
      {S("\xb3\r\n"), SIZE, ""},
      {S("8000000000000000\r\n"), LARGE, ""},
      {S("10000000000000003\r\n"), LARGE, ""},
      {S("ffffffffffffffffffff\r\n"), LARGE, ""},
      {S("\n"), BARE_LF, ""},
      {S("3\nabc"), BARE_LF, ""},
      {S("3 \nabc"), BARE_LF, ""},
      {S("3;a\nabc"), BARE_LF, ""},
      {S("3;a=\"\n\"\r\nabc"), BARE_LF, ""},
      {S("3\rabc"), BARE_CR, ""},
      {S("3\r\rabc"), BARE_CR, ""},
      {S("3;a\rb\r\nabc"), BARE_CR, ""},
      {S("3;a=\"\\\n\"\r\nabc"), BARE_LF, ""},
      {S("3;a\r\r\nabc"), BARE_CR, ""},
      {S("3 \rabc"), BARE_CR, ""},
      {S("3;a\0\r\nabc"), CONTROL, ""},
      {S("3;a\x7f\r\nabc"), CONTROL, ""},
      {S("3 \0\r\nabc"), CONTROL, ""},
      {S("3;\0\r\nabc"), CONTROL, ""},
      {S("3;a=\"\0\"\r\nabc"), CONTROL, ""},
      {S("3;a=\"\\\x7f\"\r\nabc"), CONTROL, ""},
      {S("3\r\nabcd\r\n"), LONGER, "abc"},
      {S("3\r\nabc\n"), LONGER, "abc"},
      {S("3\r\nabc\r0"), LONGER, "abc"},
      {S("3\r\nabc" END), LONGER, "abc"},
      {S("3\r\nab\r\n" END), LONGER, "ab\r"},
      {S("3\r\nabc\r\n\r\n"), SIZE, "abc"},
      {S("1\r\na\r\n1\r\nb\r\n0\n"), BARE_LF, "ab"},
      {S("0\r\n\n"), BARE_LF, ""},
      {S("0\r\n\r\r"), BARE_CR, ""},
      {S("0\r\n\rG"), BARE_CR, ""},
      {S("0\r\n: a\r\n"), "trailer field without a name", ""},
      {S("0\r\n a: b\r\n"), "trailer field without a name", ""},
      {S("0\r\na: b\r\n c\r\n"), "trailer field without a name", ""},
      {S("0\r\n\0"), "trailer field without a name", ""},
      {S("0\r\na\r\n"), NAME, ""},
      {S("0\r\na : b\r\n"), NAME, ""},
      {S("0\r\na\0: b\r\n"), NAME, ""},
      {S("0\r\na\n"), BARE_LF, ""},
      {S("0\r\na: b\n\r\n"), BARE_LF, ""},
      {S("0\r\na: b\rc\r\n"), BARE_CR, ""},
      {S("0\r\na: \0\r\n"), "control character in a trailer field", ""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *what = tap_printable(cases[i].data, cases[i].size);
    struct run r = decode(cases[i].data, cases[i].size, what);
    tap_int(r.refusal.status, 400, "refused: %s", what);
    tap_str(r.refusal.why, cases[i].why, "and why");
    tap_bytes(r.content, r.content_size, cases[i].content, strlen(cases[i].content),
              "after the content before it");
  }
}

/* A refusal is final, and leaves the results alone. */
static void final(void) {
  struct mb_http_chunked c = MB_HTTP_CHUNKED_INIT;
  struct mb_http_refusal refusal;
  size_t framing = 77, content = 78;
  tap_ok(!mb_http_chunked_next(&c, "x", 1, &framing, &content, &refusal), "refused");
  tap_ok(framing == 77 && content == 78, "nothing else is reported");
  tap_ok(!mb_http_chunked_next(&c, END, 5, &framing, &content, &refusal) && refusal.status == 400,
         "refused for good");
  tap_ok(!mb_http_chunked_ended(&c), "it never ends");
}

static void largest(void) {
  static const char data[] = "07fffffffffffffff\r\nabc";
  struct mb_http_chunked c = MB_HTTP_CHUNKED_INIT;
  struct mb_http_refusal refusal;
  size_t framing = 0, content = 0;
  tap_ok(mb_http_chunked_next(&c, data, sizeof data - 1, &framing, &content, &refusal),
         "the largest chunk");
  tap_ok(framing == sizeof data - 4 && content == 3, "begins");
  mb_http_chunked_take(&c, 3);
  tap_ok(c.left == INT64_MAX - 3, "and goes on");
}

static void pieces_of_content(void) {
  struct mb_http_chunked c = MB_HTTP_CHUNKED_INIT;
  struct mb_http_refusal refusal;
  size_t framing, content;
  mb_http_chunked_next(&c, "5\r\nab", 5, &framing, &content, &refusal);
  tap_ok(framing == 3 && content == 2, "content as far as it is there");
  mb_http_chunked_next(&c, "ab", 2, &framing, &content, &refusal);
  tap_ok(framing == 0 && content == 2, "what was not taken is reported again");
  mb_http_chunked_take(&c, 1);
  mb_http_chunked_next(&c, "b", 1, &framing, &content, &refusal);
  tap_ok(framing == 0 && content == 1, "what was taken is not");
  mb_http_chunked_take(&c, 1);
  mb_http_chunked_next(&c, "cde\r\n1", 6, &framing, &content, &refusal);
  tap_ok(framing == 0 && content == 3, "and not more than the chunk has");
}

/* Reads a body: an opening, `count` times a pattern, and an ending. */
static struct mb_http_refusal repeat(const char *opening, const char *pattern, size_t count,
                                     const char *ending) {
  struct run r = {.state = MB_HTTP_CHUNKED_INIT};
  feed(&r, opening, strlen(opening), 1);
  for (size_t i = 0; i < count; i++) {
    feed(&r, pattern, strlen(pattern), 64);
    r.content_size = 0;
  }
  feed(&r, ending, strlen(ending), 1);
  return r.refusal;
}

static void limits(void) {
  enum { LINE = MB_HTTP_CHUNK_LINE_MAX, EXTRA = MB_HTTP_CHUNK_EXTRA_MAX };
  static const char line[] = "too long a line in a chunked body";
  static const char extra[] = "too many chunk extensions and trailers";
  static const char zeros[] = "too many zeros or blanks around chunk sizes";
  static const struct {
    const char *what, *opening, *pattern;
    size_t most; /* how often the pattern may be repeated */
    const char *ending, *why;
  } cases[] = {
      {"a line of digits", "", "0", LINE, "\r\n\r\n", line},
      {"a line with an extension", "0;", "x", LINE - 2, "\r\n\r\n", line},
      {"a line with blanks", "0", " ", LINE - 3, ";x\r\n\r\n", line},
      {"a line of a trailer", "0\r\na:", "x", LINE - 2, "\r\n\r\n", line},
      {"a name of a trailer", "0\r\n", "x", LINE - 1, ":\r\n\r\n", line},
      {"a line with a quoted value", "0;a=\"", "x", LINE - 6, "\"\r\n\r\n", line},
      {"zeros", "", "00000000000000001\r\na\r\n", EXTRA, END, zeros},
      {"many zeros", "", "00000000000000000000000000000001\r\na\r\n", EXTRA / 16, END, zeros},
      {"zeros and extensions", "0000000000000000000;x\r\n", "a:xx\r\n", EXTRA / 4 - 2, "\r\n",
       extra},
      {"blanks behind sizes", "", "1                \r\na\r\n", EXTRA, END, zeros},
      {"extensions", "", "1;x\r\na\r\n", EXTRA / 2, END, extra},
      {"blanks before extensions", "", "1 ;x\r\na\r\n", EXTRA / 2, END, extra},
      {"trailers", "0\r\n", "a:xx\r\n", EXTRA / 4, "\r\n", extra},
      {"extensions and trailers", "0;xxx\r\n", "a:xx\r\n", EXTRA / 4 - 1, "\r\n", extra},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct mb_http_refusal at_limit =
        repeat(cases[i].opening, cases[i].pattern, cases[i].most, cases[i].ending);
    struct mb_http_refusal beyond =
        repeat(cases[i].opening, cases[i].pattern, cases[i].most + 1, cases[i].ending);
    tap_str(at_limit.why, NULL, "%s: up to the limit", cases[i].what);
    tap_int(beyond.status, 413, "and not beyond");
    tap_str(beyond.why, cases[i].why, "and why");
  }
  tap_str(repeat("", "1\r\na\r\n", 100000, END).why, NULL, "chunks are not limited in number");
  tap_str(repeat("", "0000000000000001\r\na\r\n", 100000, END).why, NULL,
          "nor are zeros where sizes have one width");
  tap_str(repeat("", "1               \r\na\r\n", 100000, END).why, NULL, "nor blanks");
}

int main(void) {
  accepted();
  incomplete();
  refused();
  final();
  largest();
  pieces_of_content();
  limits();
  return tap_done();
}
