/* src/http/http_access.c: the formats of the request log; every byte in every field; the limits. */
#include "http/http_access.h"

#include <stdio.h>
#include <string.h>

#include "../../lib/tap.h"

static struct mb_span span(const char *text) { return (struct mb_span){text, strlen(text)}; }

/* 2000-10-10 13:55:36.042 -0700 */
static struct mb_http_access request(const char *method, const char *target) {
  struct mb_http_access a = {
      .peer = "192.0.2.7",
      .port = 51234,
      .when = {.tm_year = 100, .tm_mon = 9, .tm_mday = 10, .tm_hour = 13, .tm_min = 55},
      .msec = 42,
      .usec = 1234567,
      .method = span(method),
      .target = span(target),
      .protocol = span("HTTP/1.1"),
      .status = 200,
      .bytes = 2326,
      .bytes_in = 7,
  };
  a.when.tm_sec = 36;
  a.when.tm_gmtoff = -7L * 3600;
  return a;
}

static char text[MB_HTTP_ACCESS_LINE_MAX];

static const char *line(enum mb_http_access_format format, const struct mb_http_access *a) {
  size_t size = mb_http_access_line(format, a, text);
  if (size >= sizeof text) tap_bail("a line is too long");
  text[size] = '\0';
  return text;
}

static void combined(void) {
  struct mb_http_access a = request("GET", "/x?a=b");
  tap_str(line(MB_HTTP_ACCESS_COMBINED, &a),
          "192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] \"GET /x?a=b HTTP/1.1\" 200 2326 \"-\" \"-\"",
          "combined, without fields");
  a.referer = span("http://example.com/");
  a.agent = span("curl/7 (\"x\\y\") \xc3\xa4\t\x01\x7f");
  a.when.tm_gmtoff = 5 * 3600 + 45 * 60;
  tap_str(line(MB_HTTP_ACCESS_COMBINED, &a),
          "192.0.2.7 - - [10/Oct/2000:13:55:36 +0545] \"GET /x?a=b HTTP/1.1\" 200 2326 "
          "\"http://example.com/\" \"curl/7 (\\x22x\\x5cy\\x22) \\xc3\\xa4\\x09\\x01\\x7f\"",
          "with fields, and a zone in the east");
  a.referer = a.agent = (struct mb_span){"", 0};
  a.method = a.target = a.protocol = (struct mb_span){NULL, 0};
  a.line = span("GARBAGE \"\r\x16\x03");
  a.when.tm_gmtoff = -(3 * 3600 + 30 * 60);
  tap_str(line(MB_HTTP_ACCESS_COMBINED, &a),
          "192.0.2.7 - - [10/Oct/2000:13:55:36 -0330] \"GARBAGE \\x22\\x0d\\x16\\x03\" 200 2326 "
          "\"-\" \"-\"",
          "a line that is no request line; fields that are empty");
  a.line = (struct mb_span){NULL, 0};
  tap_str(line(MB_HTTP_ACCESS_COMBINED, &a),
          "192.0.2.7 - - [10/Oct/2000:13:55:36 -0330] \"-\" 200 2326 \"-\" \"-\"",
          "no request line at all");
}

static void json(void) {
  struct mb_http_access a = request("GET", "/x?\"\\");
  a.host = span("example.com");
  a.agent = span("\xc3\xa4\xf0\x9f\x98\x80\xff\xed\xa0\x80\x1f\x7f");
  tap_str(line(MB_HTTP_ACCESS_JSON, &a),
          "{\"time\":\"2000-10-10T13:55:36.042-07:00\",\"peer\":\"192.0.2.7\",\"port\":51234,"
          "\"method\":\"GET\",\"target\":\"/x?\\\"\\\\\",\"protocol\":\"HTTP/1.1\",\"status\":200,"
          "\"bytes\":2326,\"bytes_in\":7,\"duration\":1.234567,\"host\":\"example.com\","
          "\"referer\":null,\"user_agent\":\"\\u00e4\\ud83d\\ude00\\\\xff\\\\xed\\\\xa0\\\\x80"
          "\\u001f\\u007f\"}",
          "JSON");
  a.port = 0;
  a.peer = "unix:";
  a.host = a.agent = a.method = a.target = a.protocol = (struct mb_span){NULL, 0};
  a.line = span("?");
  a.usec = 5;
  tap_str(line(MB_HTTP_ACCESS_JSON, &a),
          "{\"time\":\"2000-10-10T13:55:36.042-07:00\",\"peer\":\"unix:\",\"port\":null,"
          "\"request\":\"?\",\"method\":null,\"target\":null,\"protocol\":null,\"status\":200,"
          "\"bytes\":2326,\"bytes_in\":7,\"duration\":0.000005,\"host\":null,\"referer\":null,"
          "\"user_agent\":null}",
          "a line that is no request line, and a peer without a port");
}

static void dev(void) {
  struct mb_http_access a = request("GET", "/\x1b[2J");
  tap_str(line(MB_HTTP_ACCESS_DEV, &a), "13:55:36 192.0.2.7 GET /\\x1b[2J 200 2326 B 1234.5 ms",
          "for a person");
  a.coloured = true;
  a.status = 404;
  tap_str(line(MB_HTTP_ACCESS_DEV, &a),
          "13:55:36 192.0.2.7 GET /\\x1b[2J \x1b[33m404\x1b[0m 2326 B 1234.5 ms", "in colour");
}

/* ---- request lines ---- */

static void is_split(const char *text_line, bool want) {
  struct mb_http_access a = {.line = span(text_line), .method = span("x")};
  mb_http_access_split(&a);
  tap_ok((a.method.data != NULL) == want && (a.target.data != NULL) == want &&
             (a.protocol.data != NULL) == want,
         "\"%s\": %s", text_line, want ? "three parts" : "not three parts");
}

static void request_lines(void) {
  static const char *const good[] = {"GET / HTTP/1.1", "X \xff HTTP/", "GET http://a/ HTTP/2.0"};
  static const char *const bad[] = {"",
                                    " ",
                                    "GET",
                                    "GET /",
                                    "GET / ",
                                    "GET  HTTP/1.1",
                                    "GET / HTTP/1.1 ",
                                    " GET / HTTP/1.1",
                                    "GET / x HTTP/1.1",
                                    "GET / http/1.1",
                                    "GET / HTTP",
                                    "G\"T / HTTP/1.1"};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) is_split(good[i], true);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) is_split(bad[i], false);
  struct mb_http_access a = {.line = {NULL, 0}};
  mb_http_access_split(&a);
  tap_ok(!a.method.data, "no line");
}

/* ---- all bytes, and the limits ---- */

/* Returns how many quotation marks a line has that begin or end a field. In combined there is no other one. */
static int marks(enum mb_http_access_format format, const char *p) {
  int count = 0;
  for (; *p; p++) {
    if (format == MB_HTTP_ACCESS_JSON && *p == '\\') {
      p++;
    } else if (*p == '"') {
      count++;
    }
  }
  return count;
}

/* Every byte before every other one. */
static void each_byte(void) {
  bool plain = true, closed = true;
  for (int format = MB_HTTP_ACCESS_COMBINED; format <= MB_HTTP_ACCESS_JSON; format++) {
    int usual = 0;
    for (int pair = 'x' << 8 | 'x', n = 0; n < 65536; n++, pair = (pair + 1) & 0xffff) {
      const char bytes[2] = {(char)(pair >> 8), (char)pair};
      struct mb_http_access a = request("GET", "/");
      a.agent = (struct mb_span){bytes, 2};
      const char *got = line((enum mb_http_access_format)format, &a);
      for (const char *p = got; *p; p++) plain &= *p >= ' ' && *p < 0x7f;
      int count = marks((enum mb_http_access_format)format, got);
      if (n == 0) usual = count;
      closed &= count == usual;
    }
  }
  tap_ok(plain, "every pair of bytes: the line is printable ASCII");
  tap_ok(closed, "and no field ends early");
}

static char many[70000];

static void long_fields(void) {
  static const char *const units[] = {"x",           "\"", "\xff", "\x01", "\xf0\x9f\x98\x80",
                                      "\xe2\x82\xac"};
  char peer[129];
  memset(peer, 'p', 128);
  peer[128] = '\0';
  for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
    size_t len = strlen(units[u]);
    for (size_t i = 0; i < sizeof many; i++) many[i] = units[u][i % len];
    for (size_t size = sizeof many - 12; size <= sizeof many; size++) {
      struct mb_span whole = {many, size};
      struct mb_http_access a = request("GET", "/");
      a.peer = peer;
      a.port = 65535;
      a.usec = INT64_MAX;
      a.bytes = a.bytes_in = UINT64_MAX;
      a.when.tm_gmtoff = -(23 * 3600 + 59 * 60);
      a.method = a.target = a.protocol = a.host = a.referer = a.agent = whole;
      for (int format = MB_HTTP_ACCESS_COMBINED; format <= MB_HTTP_ACCESS_DEV; format++) {
        size_t got = mb_http_access_line((enum mb_http_access_format)format, &a, text);
        if (got >= sizeof text) tap_bail("a line is too long");
      }
    }
  }
  tap_ok(true, "the longest lines have room");
}

static void cuts(void) {
  char field[65];
  memset(many, 'a', sizeof many);
  mb_http_access_field((struct mb_span){many, 64}, 64, field);
  tap_ok(strlen(field) == 64 && !strchr(field, '.'), "a field as long as its limit is whole");
  mb_http_access_field((struct mb_span){many, 65}, 64, field);
  tap_ok(strlen(field) == 64 && strcmp(field + 60, "a...") == 0, "a longer one is cut: %s", field);
  many[60] = '"';
  mb_http_access_field((struct mb_span){many, 61}, 64, field);
  tap_ok(strcmp(field + 59, "a\\x22") == 0, "an escape at the limit is whole: %s", field);
  mb_http_access_field((struct mb_span){many, 62}, 64, field);
  tap_ok(strcmp(field + 59, "a...") == 0, "and is left out as a whole: %s", field);
  mb_http_access_field((struct mb_span){NULL, 0}, 64, field);
  tap_str(field, "", "nothing");
}

int main(void) {
  combined();
  json();
  dev();
  request_lines();
  each_byte();
  cuts();
  long_fields();
  return tap_done();
}
