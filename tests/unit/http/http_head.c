/* src/http/http_head.c, src/http/http_target.c: heads that are accepted, and what is read of them; each
 * refusal with its reason. The results are the same however the bytes come. */
#include "http/http_head.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/tap.h"

#define HOST "Host: a\r\n"
#define GET  "GET / HTTP/1.1\r\n" HOST
#define POST "POST / HTTP/1.1\r\n" HOST

struct outcome {
  size_t end;
  struct mb_http_refusal refusal;
};

/* Copies the bytes to memory of exactly their size, so that a sanitizer sees a read behind them. */
static char *exact(const char *data, size_t size) {
  char *copy = malloc(size > 0 ? size : 1);
  if (!copy) tap_bail("no memory");
  if (size > 0) memcpy(copy, data, size);
  return copy;
}

static struct outcome look(const char *data, size_t size, size_t *scanned) {
  char *copy = exact(data, size);
  struct outcome o;
  memset(&o, 0x55, sizeof o);
  o.end = mb_http_head_end(copy, size, scanned, &o.refusal);
  free(copy);
  return o;
}

static bool same(struct outcome a, struct outcome b) {
  return a.end == b.end && a.refusal.status == b.refusal.status && a.refusal.why == b.refusal.why;
}

/* Looks for the end with all bytes at once. Reports another way of feeding them that gives another result. */
static struct outcome find_end(const char *data, size_t size, const char *what) {
  size_t scanned = 0;
  struct outcome whole = look(data, size, &scanned), other = {0};
  scanned = 0;
  for (size_t n = 0; n <= size && other.end == 0 && other.refusal.status == 0; n++) {
    other = look(data, n, &scanned);
  }
  if (!same(whole, other)) tap_ok(false, "%s: the same byte by byte", what);
  for (size_t split = 0; split <= size; split++) {
    scanned = 0;
    other = look(data, split, &scanned);
    if (other.end == 0 && other.refusal.status == 0) other = look(data, size, &scanned);
    if (!same(whole, other)) tap_ok(false, "%s: the same when split at %zu", what, split);
  }
  return whole;
}

/* ---- accepted ---- */

static void show(char *to, size_t room, const struct mb_http_head *h) {
  const struct mb_span parts[] = {h->method, h->path, h->query, h->host};
  size_t at = 0;
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    const char *data = parts[i].data ? parts[i].data : "(none)";
    int size = parts[i].data ? (int)parts[i].size : 6;
    at += (size_t)snprintf(to + at, room - at, "%.*s|", size, data);
  }
  static const char *const framings[] = {"none", "length", "chunked"};
  snprintf(to + at, room - at, "1.%d %s %llu%s%s", h->minor, framings[h->framing],
           (unsigned long long)h->length, h->keepalive ? " keep" : "",
           h->expects ? " expects" : "");
}

static void accepted(void) {
  static const struct {
    const char *what, *data, *shown;
  } cases[] = {
      {"the least of 1.1", GET "\r\n", "GET|/||a|1.1 none 0 keep"},
      {"the least of 1.0", "GET / HTTP/1.0\r\n\r\n", "GET|/||(none)|1.0 none 0"},
      {"bare LF", "GET / HTTP/1.1\nHost: a\n\n", "GET|/||a|1.1 none 0 keep"},
      {"CR LF and bare LF", "GET / HTTP/1.1\nHost: a\n\r\n", "GET|/||a|1.1 none 0 keep"},
      {"bare LF at the end", GET "\n", "GET|/||a|1.1 none 0 keep"},
      {"empty lines before", "\r\n\n\r\n" GET "\r\n", "GET|/||a|1.1 none 0 keep"},
      {"a higher minor version", "GET / HTTP/1.7\r\n" HOST "\r\n", "GET|/||a|1.1 none 0 keep"},
      {"any method", "x!#$%&'*+-.^_`|~9 / HTTP/1.1\r\n" HOST "\r\n",
       "x!#$%&'*+-.^_`|~9|/||a|1.1 none 0 keep"},
      {"methods have a case", "connect / HTTP/1.1\r\n" HOST "\r\n", "connect|/||a|1.1 none 0 keep"},
      {"CONNECT is the whole word", "CONNECTS / HTTP/1.1\r\n" HOST "\r\n",
       "CONNECTS|/||a|1.1 none 0 keep"},

      {"query", "GET /a?b HTTP/1.1\r\n" HOST "\r\n", "GET|/a|?b|a|1.1 none 0 keep"},
      {"asterisk", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", "OPTIONS|(none)|(none)|a|1.1 none 0 keep"},
      {"a host in the target", "GET http://b/ HTTP/1.1\r\n" HOST "\r\n",
       "GET|/||b|1.1 none 0 keep"},
      {"a host in the target of 1.0", "GET http://b/ HTTP/1.0\r\n\r\n", "GET|/||b|1.0 none 0"},

      {"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET|/|||1.1 none 0 keep"},
      {"blanks around Host", "GET / HTTP/1.1\r\nhOsT:\t b:80 \r\n\r\n",
       "GET|/||b:80|1.1 none 0 keep"},
      {"Host in 1.0", "GET / HTTP/1.0\r\n" HOST "\r\n", "GET|/||a|1.0 none 0"},

      {"Content-Length", POST "Content-Length: 5\r\n\r\n", "POST|/||a|1.1 length 5 keep"},
      {"Content-Length of nothing", POST "Content-Length: 0\r\n\r\n",
       "POST|/||a|1.1 length 0 keep"},
      {"Content-Length with zeros", POST "Content-Length: 0000000000000000000000000012\r\n\r\n",
       "POST|/||a|1.1 length 12 keep"},
      {"the largest Content-Length", POST "Content-Length: 9223372036854775807\r\n\r\n",
       "POST|/||a|1.1 length 9223372036854775807 keep"},
      {"Content-Length as a list", POST "Content-Length: 5 ,\t5,5\r\n\r\n",
       "POST|/||a|1.1 length 5 keep"},
      {"Content-Length twice", POST "Content-Length: 5\r\ncontent-length: 5\r\n\r\n",
       "POST|/||a|1.1 length 5 keep"},
      {"Content-Length in 1.0", "POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n",
       "POST|/||(none)|1.0 length 5"},
      {"chunked", POST "Transfer-Encoding: chunked\r\n\r\n", "POST|/||a|1.1 chunked 0 keep"},
      {"chunked in another case", POST "transfer-ENCODING: \tCHUNKed \r\n\r\n",
       "POST|/||a|1.1 chunked 0 keep"},
      {"not what only looks like framing",
       POST "Content_Length: 5\r\nTransfer-Encodings: x\r\n\r\n", "POST|/||a|1.1 none 0 keep"},

      {"close", GET "Connection: close\r\n\r\n", "GET|/||a|1.1 none 0"},
      {"close in another case", GET "CONNECTION: CLOSE\r\n\r\n", "GET|/||a|1.1 none 0"},
      {"close in a list", GET "Connection: , x ,close,y\r\n\r\n", "GET|/||a|1.1 none 0"},
      {"close wins", GET "Connection: close\r\nConnection: keep-alive\r\n\r\n",
       "GET|/||a|1.1 none 0"},
      {"close wins when it comes later", GET "Connection: keep-alive\r\nConnection: close\r\n\r\n",
       "GET|/||a|1.1 none 0"},
      {"Connection without close", GET "Connection: upgrade, closed\r\n\r\n",
       "GET|/||a|1.1 none 0 keep"},
      {"empty Connection", GET "Connection:\r\n\r\n", "GET|/||a|1.1 none 0 keep"},
      {"keep-alive in 1.0", "GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n",
       "GET|/||(none)|1.0 none 0 keep"},
      {"close wins in 1.0", "GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n",
       "GET|/||(none)|1.0 none 0"},

      {"Content-Type",
       POST "Content-Type: a/b; c=\"d, e\"\r\nContent-Types: e\r\nX-Content-Type: f\r\n\r\n",
       "POST|/||a|1.1 none 0 keep"},
      {"other fields of one value twice",
       GET "Range: a\r\nRange: b\r\nContent-Range: a\r\n"
           "Content-Range: b\r\nCookie: a=b\r\nCookie: a=c\r\n\r\n",
       "GET|/||a|1.1 none 0 keep"},

      {"Expect", POST "Expect: 100-Continue\r\nContent-Length: 5\r\n\r\n",
       "POST|/||a|1.1 length 5 keep expects"},
      {"Expect of chunks", POST "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
       "POST|/||a|1.1 chunked 0 keep expects"},
      {"Expect as a list", POST "Expect: 100-continue, 100-Continue,\r\nContent-Length: 5\r\n\r\n",
       "POST|/||a|1.1 length 5 keep expects"},
      {"Expect twice",
       POST "expect:100-CONTINUE\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
       "POST|/||a|1.1 length 5 keep expects"},
      {"Expect without a body", GET "Expect: 100-continue\r\n\r\n", "GET|/||a|1.1 none 0 keep"},
      {"Expect with an empty body", GET "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n",
       "GET|/||a|1.1 length 0 keep"},
      {"Expect in 1.0", "POST / HTTP/1.0\r\nExpect: x\r\nContent-Length: 5\r\n\r\n",
       "POST|/||(none)|1.0 length 5"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    size_t size = strlen(cases[i].data);
    struct outcome o = find_end(cases[i].data, size, cases[i].what);
    char *data = exact(cases[i].data, size), shown[256] = "";
    struct mb_http_head head;
    struct mb_http_refusal refusal = {0};
    if (o.end != size) {
      tap_ok(false, "%s: its end is found", cases[i].what);
    } else if (mb_http_head_parse(data, size, &head, &refusal)) {
      show(shown, sizeof shown, &head);
    }
    tap_str(refusal.status ? refusal.why : shown, cases[i].shown, "%s", cases[i].what);
    free(data);
  }
}

/* ---- refused ---- */

struct refused {
  const char *data;
  size_t size;
  int status;
  const char *why;
};

#define REFUSED(text, status, why) \
  { text, sizeof text - 1, status, why }

#define CONTROL     "control character in the request head"
#define NUL         "NUL in the request head"
#define CR          "bare CR in the request head"
#define BAD_VERSION "bad HTTP version"
#define MAJOR       "neither HTTP/1.0 nor HTTP/1.1"
#define NO_NUMBER   "Content-Length that is no number"
#define TOO_LARGE   "Content-Length that is too large"
#define DIFFERS     "more than one Content-Length"
#define BESIDE      "Content-Length beside Transfer-Encoding"
#define CODING      "Transfer-Encoding other than chunked"
#define BEHIND      "Transfer-Encoding with more behind chunked"
#define BAD_CODING  "bad Transfer-Encoding field"
#define TYPES       "more than one Content-Type field"
#define EXPECT      "Expect other than 100-continue"
#define FOLDED      "folded field line"

/* Heads that are refused when they are parsed; their end is found first. */
static const struct refused refused[] = {
    REFUSED("GET\r\n\r\n", 400, "request line without a target"),
    REFUSED("GET \r\n\r\n", 400, "request line without a target"),
    REFUSED("GET /\r\n\r\n", 400, "request line without a version"),
    REFUSED("GET / \r\n\r\n", 400, BAD_VERSION),
    REFUSED("GET  / HTTP/1.1\r\n\r\n", 400, "more than one space in the request line"),
    REFUSED("GET /  HTTP/1.1\r\n\r\n", 400, BAD_VERSION),
    REFUSED("GET / HTTP/1.1 \r\n\r\n", 400, BAD_VERSION),
    REFUSED("GET / x HTTP/1.1\r\n\r\n", 400, BAD_VERSION),
    REFUSED("GET\t/ HTTP/1.1\r\n\r\n", 400, "bad character in the method"),
    REFUSED("GET /\tHTTP/1.1\r\n\r\n", 400, "bad character in the request target"),
    REFUSED("G@T / HTTP/1.1\r\n\r\n", 400, "bad character in the method"),
    REFUSED("G\xc3\xa4T / HTTP/1.1\r\n\r\n", 400, "bad character in the method"),
    REFUSED("GET /#a HTTP/1.1\r\n\r\n", 400, "bad character in the request target"),
    REFUSED("GET /\" HTTP/1.1\r\n\r\n", 400, "bad character in the request target"),
    REFUSED("GET /?< HTTP/1.1\r\n\r\n", 400, "bad character in the request target"),
    REFUSED("GET /?> HTTP/1.1\r\n\r\n", 400, "bad character in the request target"),
    REFUSED("GET /?\xc3\xa4 HTTP/1.1\r\n\r\n", 400, "bad character in the request target"),
    REFUSED("GET /\xff HTTP/1.1\r\n\r\n", 400, "bad character in the request target"),
    REFUSED("GET /{ HTTP/1.1\r\n\r\n", 400, "bad character in the path of the request target"),
    REFUSED("GET /\x7f HTTP/1.1\r\n\r\n", 400, CONTROL),
    REFUSED("GET /\x01 HTTP/1.1\r\n\r\n", 400, CONTROL),
    REFUSED("GET /\0 HTTP/1.1\r\n\r\n", 400, NUL),
    REFUSED("GET / HTTP/1.1\0\r\n\r\n", 400, NUL),
    REFUSED("G\0T / HTTP/1.1\r\n\r\n", 400, NUL),
    REFUSED("GET / HTTP/1.1\r\r\n\r\n", 400, CR),
    REFUSED("GET /\rHost: a HTTP/1.1\r\n\r\n", 400, CR),
    REFUSED("GET\r/ HTTP/1.1\r\n\r\n", 400, CR),
    REFUSED("GET / HTTP/11\r\n\r\n", 400, BAD_VERSION),
    REFUSED("GET / HTTP/1\r\n\r\n", 400, BAD_VERSION),
    REFUSED("GET / HTTP/1.\r\n\r\n", 400, BAD_VERSION),
    REFUSED("GET / HTTP/.1\r\n\r\n", 400, BAD_VERSION),
    REFUSED("GET / HTTP /1.1\r\n\r\n", 400, BAD_VERSION),
    REFUSED("GET / HTTP/1.10\r\n\r\n", 400, BAD_VERSION),
    REFUSED("GET / HTTP/01.1\r\n\r\n", 400, BAD_VERSION),
    REFUSED("GET / HTTP/1,1\r\n\r\n", 400, BAD_VERSION),
    REFUSED("GET / HTTP/a.1\r\n\r\n", 400, BAD_VERSION),
    REFUSED("GET / HTTP/1.x\r\n\r\n", 400, BAD_VERSION),
    REFUSED("GET / http/1.1\r\n\r\n", 400, BAD_VERSION),
    REFUSED("GET / HTTPS/1.1\r\n\r\n", 400, BAD_VERSION),
    REFUSED("GET / HTTP/2.0\r\n\r\n", 505, MAJOR),
    REFUSED("GET / HTTP/0.9\r\n\r\n", 505, MAJOR),
    REFUSED("GET / HTTP/9.9\r\n\r\n", 505, MAJOR),
    REFUSED("PRI * HTTP/2.0\r\n\r\n", 505, MAJOR),
    REFUSED("CONNECT a:1 HTTP/2.0\r\n\r\n", 505, MAJOR),
    REFUSED("CONNECT a:1 HTTP/1.1\r\n" HOST HOST "\r\n", 501, "CONNECT is not supported"),
    REFUSED("CONNECT / HTTP/1.0\r\n\r\n", 501, "CONNECT is not supported"),

    REFUSED("GET * HTTP/1.1\r\n\r\n", 400, "request target \"*\" without OPTIONS"),
    REFUSED("GET http://a:b/ HTTP/1.1\r\n" HOST HOST "\r\n", 400, "bad host in the request target"),
    REFUSED("GET http://a/ HTTP/1.1\r\n\r\n", 400, "no Host field"),
    REFUSED("GET http://a/ HTTP/1.1\r\nHost: b c\r\n\r\n", 400, "bad Host field"),

    REFUSED(GET "a\r\n\r\n", 400, "field line without a colon"),
    REFUSED(GET ": a\r\n\r\n", 400, "field line without a name"),
    REFUSED(GET "a : b\r\n\r\n", 400, "space in a field name"),
    REFUSED(GET "a\t: b\r\n\r\n", 400, "space in a field name"),
    REFUSED(GET "a b: c\r\n\r\n", 400, "space in a field name"),
    REFUSED(GET " a: b\r\n\r\n", 400, FOLDED),
    REFUSED(GET "a: b\r\n\tc\r\n\r\n", 400, FOLDED),
    REFUSED(GET "a: b\r\n \r\n\r\n", 400, FOLDED),
    REFUSED(GET "a: b\r\n c: d\r\n\r\n", 400, FOLDED),
    REFUSED("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, FOLDED),
    REFUSED(GET "a(: b\r\n\r\n", 400, "bad character in a field name"),
    REFUSED(GET "\xc3\xa4: b\r\n\r\n", 400, "bad character in a field name"),
    REFUSED(GET "a\r: b\r\n\r\n", 400, CR),
    REFUSED(GET "a\0: b\r\n\r\n", 400, NUL),
    REFUSED(GET "a\x0b: b\r\n\r\n", 400, CONTROL),
    REFUSED(GET "a: b\rc: d\r\n\r\n", 400, CR),
    REFUSED(GET "a: b\r\r\n\r\n", 400, CR),
    REFUSED(GET "a:\r \r\n\r\n", 400, CR),
    REFUSED(GET "a: \0\r\n\r\n", 400, NUL),
    REFUSED(GET "a: \x0b\r\n\r\n", 400, CONTROL),
    REFUSED(GET "a: \x1b\r\n\r\n", 400, CONTROL),
    REFUSED(GET "a: \x7f\r\n\r\n", 400, CONTROL),

    REFUSED("GET / HTTP/1.1\r\n\r\n", 400, "no Host field"),
    REFUSED("GET / HTTP/1.5\r\nHosts: a\r\n\r\n", 400, "no Host field"),
    REFUSED(GET HOST "\r\n", 400, "more than one Host field"),
    REFUSED("GET / HTTP/1.0\r\n" HOST HOST "\r\n", 400, "more than one Host field"),
    REFUSED("GET / HTTP/1.1\r\nHost:\r\nHost:\r\n\r\n", 400, "more than one Host field"),
    REFUSED("GET / HTTP/1.0\r\nHost: a/b\r\n\r\n", 400, "bad Host field"),
    REFUSED("GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400, "bad Host field"),
    REFUSED("GET / HTTP/1.1\r\nHost: ..\r\n\r\n", 400, "bad Host field"),

    REFUSED(POST "Content-Length:\r\n\r\n", 400, NO_NUMBER),
    REFUSED(POST "Content-Length: -5\r\n\r\n", 400, NO_NUMBER),
    REFUSED(POST "Content-Length: +5\r\n\r\n", 400, NO_NUMBER),
    REFUSED(POST "Content-Length: 0x5\r\n\r\n", 400, NO_NUMBER),
    REFUSED(POST "Content-Length: 5 5\r\n\r\n", 400, NO_NUMBER),
    REFUSED(POST "Content-Length: 5;\r\n\r\n", 400, NO_NUMBER),
    REFUSED(POST "Content-Length: 5x\r\n\r\n", 400, NO_NUMBER),
    REFUSED(POST "Content-Length: 5.0\r\n\r\n", 400, NO_NUMBER),
    REFUSED(POST "Content-Length: ,\r\n\r\n", 400, NO_NUMBER),
    REFUSED(POST "Content-Length: \"5\"\r\n\r\n", 400, NO_NUMBER),
    REFUSED(POST "Content-Length: 5,\r\n\r\n", 400, NO_NUMBER),
    REFUSED(POST "Content-Length: ,5\r\n\r\n", 400, NO_NUMBER),
    REFUSED(POST "Content-Length: 5\r\nContent-Length:\r\n\r\n", 400, NO_NUMBER),
    REFUSED(POST "Content-Length: 9223372036854775808\r\n\r\n", 400, TOO_LARGE),
    REFUSED(POST "Content-Length: 18446744073709551621\r\n\r\n", 400, TOO_LARGE),
    REFUSED(POST "Content-Length: 99999999999999999999999999\r\n\r\n", 400, TOO_LARGE),
    REFUSED(POST "Content-Length: 5, 6\r\n\r\n", 400, DIFFERS),
    REFUSED(POST "Content-Length: 5\r\nX: a\r\ncontent-length: 5, 6\r\n\r\n", 400, DIFFERS),
    REFUSED(POST "Content-Length: 5\r\nContent-Length: 0\r\n\r\n", 400, DIFFERS),
    REFUSED(POST "Content-Length: 0\r\nContent-Length: 5\r\n\r\n", 400, DIFFERS),
    REFUSED(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400, BESIDE),
    REFUSED(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400, BESIDE),
    REFUSED(POST "Content-Length: 0\r\nTransfer-Encoding: x\r\n\r\n", 400, BESIDE),

    REFUSED(POST "Transfer-Encoding: gzip\r\n\r\n", 501, CODING),
    REFUSED(POST "Transfer-Encoding: identity\r\n\r\n", 501, CODING),
    REFUSED(POST "Transfer-Encoding: gzip;q=1, chunked\r\n\r\n", 501, CODING),
    REFUSED(POST "Transfer-Encoding: xchunked\r\n\r\n", 501, CODING),
    REFUSED(POST "Transfer-Encoding: chunkedx\r\n\r\n", 501, CODING),
    REFUSED(POST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", 501, CODING),
    REFUSED(POST "Transfer-Encoding: chunked, chunked\r\n\r\n", 400, BEHIND),
    REFUSED(POST "Transfer-Encoding: chunked, gzip\r\n\r\n", 400, BEHIND),
    REFUSED(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400, BEHIND),
    REFUSED(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n\r\n", 400, BEHIND),
    REFUSED(POST "Transfer-Encoding: chunked,\r\n\r\n", 400, BEHIND),
    REFUSED(POST "Transfer-Encoding:\r\n\r\n", 400, BAD_CODING),
    REFUSED(POST "Transfer-Encoding: ,\r\n\r\n", 400, BAD_CODING),
    REFUSED(POST "Transfer-Encoding: ,chunked\r\n\r\n", 400, BAD_CODING),
    REFUSED(POST "Transfer-Encoding: \"chunked\"\r\n\r\n", 400, BAD_CODING),
    REFUSED(POST "Transfer-Encoding: chunked;a=b\r\n\r\n", 400, BAD_CODING),
    REFUSED(POST "Transfer-Encoding: chunked x\r\n\r\n", 400, BAD_CODING),
    REFUSED(POST "Transfer-Encoding: \x0b"
                 "chunked\r\n\r\n",
            400, CONTROL),
    REFUSED("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
            "Transfer-Encoding in HTTP/1.0"),

    REFUSED(POST "Content-Type: a/b\r\nContent-Type: c/d\r\n\r\n", 400, TYPES),
    REFUSED(POST "Content-Type: a/b\r\nX: y\r\ncontent-TYPE: a/b\r\n\r\n", 400, TYPES),
    REFUSED(POST "Content-Type:\r\nContent-Type:\r\n\r\n", 400, TYPES),
    REFUSED(POST "Content-Type: a/b, c/d\r\n\r\n", 400, TYPES),
    REFUSED(POST "Content-Type: a/b,c/d; e=f\r\n\r\n", 400, TYPES),
    REFUSED("GET / HTTP/1.0\r\nContent-Type: a/b\r\nContent-Type: c/d\r\n\r\n", 400, TYPES),

    REFUSED(GET "Connection: \"close\"\r\n\r\n", 400, "bad Connection field"),
    REFUSED(GET "Connection: a b\r\n\r\n", 400, "bad Connection field"),
    REFUSED(POST "Expect: 200-ok\r\n\r\n", 417, EXPECT),
    REFUSED(POST "Expect: 100-continue=1\r\n\r\n", 417, EXPECT),
    REFUSED(POST "Expect: 100-continue;q=1\r\n\r\n", 417, EXPECT),
    REFUSED(POST "Expect: 100-continue\r\nExpect: a\r\n\r\n", 417, EXPECT),
    REFUSED(POST "Expect: 100-continue, x\r\n\r\n", 417, EXPECT),
    REFUSED(POST "Expect: \"100-continue\"\r\n\r\n", 417, EXPECT),
    REFUSED(POST "Expect: x\r\na\r\n\r\n", 417, EXPECT),
};

static void refusals(void) {
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    const struct refused *r = &refused[i];
    const char *what = tap_printable(r->data, r->size);
    struct outcome o = find_end(r->data, r->size, what);
    if (o.end != r->size) tap_ok(false, "its end is found: %s", what);
    char *data = exact(r->data, r->size), got[128] = "accepted", want[128];
    struct mb_http_head head;
    struct mb_http_refusal refusal;
    if (!mb_http_head_parse(data, r->size, &head, &refusal)) {
      snprintf(got, sizeof got, "%d %s", refusal.status, refusal.why);
    }
    snprintf(want, sizeof want, "%d %s", r->status, r->why);
    tap_str(got, want, "%s", what);
    free(data);
  }
}

/* Some heads are refused before they have ended. */
static void early(void) {
  static const struct refused cases[] = {
      REFUSED("\x16\x03\x01", 400, "no method begins like this"), /* TLS */
      REFUSED("\r\n\n {", 400, "no method begins like this"),
      REFUSED("\0", 400, "no method begins like this"),
      REFUSED(" GET", 400, "no method begins like this"),
      REFUSED("\t", 400, "no method begins like this"),
      REFUSED("/", 400, "no method begins like this"),
      REFUSED("@", 400, "no method begins like this"),
      REFUSED("\x7f", 400, "no method begins like this"),
      REFUSED("\xff", 400, "no method begins like this"),
      REFUSED("\rG", 400, "bare CR in the request head"),
      REFUSED("\r\n\r\r\n", 400, "bare CR in the request head"),
      REFUSED("GET / HTTP/1.1\r\n\rx", 400, "bare CR in the request head"),
      REFUSED("GET / HTTP/1.1\r\na: b\n\r\r\n", 400, "bare CR in the request head"),
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *what = tap_printable(cases[i].data, cases[i].size);
    struct outcome o = find_end(cases[i].data, cases[i].size, what);
    tap_ok(o.end == 0 && o.refusal.status == cases[i].status, "refused at once: %s", what);
    tap_str(o.refusal.why, cases[i].why, "and why");
  }
}

/* ---- ends, limits, the rest ---- */

static void ends(void) {
  static const char *const incomplete[] = {
      "",
      "\r",
      "\n",
      "\r\n",
      "\r\n\r\n\r",
      "G",
      "GET / HTTP/1.1",
      "GET / HTTP/1.1\r",
      "GET / HTTP/1.1\r\n",
      "GET / HTTP/1.1\r\n\r",
      "GET / HTTP/1.1\n",
      "GET / HTTP/1.1\na: b\r\n",
  };
  for (size_t i = 0; i < sizeof incomplete / sizeof *incomplete; i++) {
    size_t size = strlen(incomplete[i]);
    const char *what = tap_printable(incomplete[i], size);
    struct outcome o = find_end(incomplete[i], size, what);
    tap_ok(o.end == 0 && o.refusal.status == 0, "incomplete: \"%s\"", what);
    struct mb_http_head head;
    struct mb_http_refusal refusal = {0};
    char *data = exact(incomplete[i], size);
    tap_ok(!mb_http_head_parse(data, size, &head, &refusal) && refusal.status == 400,
           "and nothing to parse");
    free(data);
  }
  static const char two[] = "A / HTTP/1.0\n\nB / HTTP/1.0\r\n\r\n";
  tap_int((long long)find_end(two, sizeof two - 1, "two heads").end, 14,
          "a head ends where the next one begins");
}

/* Bytes are scanned only once: otherwise a head that comes byte by byte takes quadratic time. */
static void linear(void) {
  enum { SIZE = 1 << 16 };
  static const char *const patterns[] = {"\n", "\r\n", "a", "a\n", "a\r\n", "a: b\r\n"};
  char *data = malloc(SIZE);
  if (!data) tap_bail("no memory");
  for (size_t p = 0; p < sizeof patterns / sizeof *patterns; p++) {
    size_t scanned = 0, behind = 0, length = strlen(patterns[p]);
    bool none = true;
    for (size_t n = 1; n <= SIZE; n++) {
      struct mb_http_refusal refusal;
      data[n - 1] = patterns[p][(n - 1) % length];
      none &= mb_http_head_end(data, n, &scanned, &refusal) == 0 && refusal.status == 0;
      if (n - scanned > behind) behind = n - scanned;
    }
    tap_ok(none && behind <= 2, "64 KiB of %s byte by byte: %zu at most are scanned again",
           tap_printable(patterns[p], length), behind);
  }
  free(data);
}

static void many_fields(void) {
  static char data[64 + 8 * (MB_HTTP_FIELDS_MAX + 1)];
  static struct mb_http_head head, untouched;
  struct mb_http_refusal refusal = {0};
  for (unsigned count = MB_HTTP_FIELDS_MAX; count <= MB_HTTP_FIELDS_MAX + 1; count++) {
    size_t at = (size_t)snprintf(data, sizeof data, GET);
    for (unsigned i = 1; i < count; i++) {
      at += (size_t)snprintf(data + at, sizeof data - at, "n%u:%u\r\n", i % 100, i);
    }
    at += (size_t)snprintf(data + at, sizeof data - at, "\r\n");
    bool taken = mb_http_head_parse(data, at, &head, &refusal);
    if (count > MB_HTTP_FIELDS_MAX) {
      tap_ok(!taken && refusal.status == 431, "%u fields are too many", count);
      tap_str(refusal.why, "too many fields", "and why");
    } else {
      tap_ok(taken && head.field_count == count, "%u fields are taken", count);
      const struct mb_http_field *last = &head.fields[count - 1];
      tap_bytes(last->value.data, last->value.size, "127", 3, "to the last");
    }
  }
  memset(&head, 0xaa, sizeof head);
  memset(&untouched, 0xaa, sizeof untouched);
  static const char one[] = GET "\r\n";
  tap_ok(mb_http_head_parse(one, sizeof one - 1, &head, &refusal) && head.field_count == 1 &&
             memcmp(&head.fields[1], &untouched.fields[1],
                    sizeof head.fields - sizeof *head.fields) == 0,
         "room for fields that are not there is not written");
}

static void fields(void) {
  static const char data[] = GET "X-A: 1\r\nx-a:\t2 3 \xff\t\r\nEMPTY: \t\r\nC::\"\r\n\r\n";
  static const char *const want[][2] = {
      {"Host", "a"}, {"X-A", "1"}, {"x-a", "2 3 \xff"}, {"EMPTY", ""}, {"C", ":\""},
  };
  struct mb_http_head head;
  struct mb_http_refusal refusal;
  if (!mb_http_head_parse(data, sizeof data - 1, &head, &refusal)) tap_bail(refusal.why);
  tap_int(head.field_count, 5, "all fields are there");
  for (unsigned i = 0; i < head.field_count && i < 5; i++) {
    struct mb_span name = head.fields[i].name, value = head.fields[i].value;
    tap_bytes(name.data, name.size, want[i][0], strlen(want[i][0]), "name %u as sent", i);
    tap_bytes(value.data, value.size, want[i][1], strlen(want[i][1]), "value %u trimmed", i);
  }
  tap_ok(mb_http_head_field(&head, "x-a") == &head.fields[1], "the first of a name is found");
  tap_ok(mb_http_head_field(&head, "empty") == &head.fields[3], "in any case");
  tap_ok(!mb_http_head_field(&head, "x-b"), "one that is not there is not");
}

/* The caller has to know the method after a refusal, too: a response to HEAD has no body. */
static void refused_method(void) {
  static const char bad[] = "HEAD / HTTP/1.1\r\na\r\n\r\n", none[] = "@ / HTTP/1.1\r\n\r\n";
  struct mb_http_head head;
  struct mb_http_refusal refusal;
  memset(&head, 0xaa, sizeof head);
  tap_ok(!mb_http_head_parse(bad, sizeof bad - 1, &head, &refusal), "refused");
  tap_bytes(head.method.data, head.method.size, "HEAD", 4, "the method is known nevertheless");
  tap_ok(!mb_http_head_parse(none, sizeof none - 1, &head, &refusal) && head.method.size == 0,
         "unless there is none");
}

int main(void) {
  accepted();
  refusals();
  early();
  ends();
  linear();
  many_fields();
  fields();
  refused_method();
  return tap_done();
}
