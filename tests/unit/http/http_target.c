/* src/http/http_target.c: paths, queries and hosts of request targets; valid and other hosts. */
#include "http/http_target.h"

#include <stdio.h>
#include <string.h>

#include "../../lib/tap.h"

#define NEITHER "request target that is neither a path nor an http URL"
#define STAR    "request target \"*\" without OPTIONS"
#define HOST    "bad host in the request target"
#define ESCAPE  "\"%\" without two hexadecimal digits in the request target"
#define PATH    "bad character in the path of the request target"
#define USER    "user name in the request target"

static struct mb_span span(const char *text) { return (struct mb_span){text, strlen(text)}; }

static void hosts(void) {
  static const char *const good[] = {"",
                                     "a",
                                     "a:",
                                     "a:0",
                                     "a:65535",
                                     "a:00080",
                                     "a.b-c_d~",
                                     "127.0.0.1:1",
                                     "a%2Fb",
                                     "!$&'()*+,;=",
                                     "[::1]",
                                     "[::1]:",
                                     "[::1]:80",
                                     "[::ffff:127.0.0.1]",
                                     "[1:2:3:4:5:6:7:8]",
                                     "[v1.a]",
                                     "[V1F.-._~!$&'()*+,;=:a]:80",
                                     "a.",
                                     "a.b.:1",
                                     "%2e"};
  static const char *const bad[] = {"a:65536",
                                    "a:000080",
                                    "a:b",
                                    "a:-1",
                                    "a:+1",
                                    "a: 80",
                                    "a:8 0",
                                    "a:1:2",
                                    "::1",
                                    "a b",
                                    "a/b",
                                    "a@b",
                                    "a?b",
                                    "a#b",
                                    "a\\b",
                                    "a\"b",
                                    "a<b",
                                    "http://a",
                                    "a%",
                                    "a%2",
                                    "a%zz",
                                    "a%2:1",
                                    "\xc3\xa4",
                                    "[",
                                    "[]",
                                    "[::1",
                                    "[::1]80",
                                    "[::1]a:80",
                                    "[::1]:x",
                                    "[127.0.0.1]",
                                    ":",
                                    ":80",
                                    ".",
                                    "..",
                                    ".:80",
                                    "..:80",
                                    ".a",
                                    "a..b",
                                    "a..",
                                    "...",
                                    "[v.a]",
                                    "[v1]",
                                    "[v1.]",
                                    "[vg.a]",
                                    "[1.a]",
                                    "[v1.a%20]",
                                    "[v1.a/b]",
                                    "[v1.a",
                                    "[v1.\xc3\xa4]",
                                    "[::1%25eth0]",
                                    "[::g]",
                                    "[:::]",
                                    "[[::1]]",
                                    "a[::1]",
                                    "]",
                                    "[0000:0000:0000:0000:0000:0000:0000:00000000000001]",
                                    "[ ::1]",
                                    "a:80 ",
                                    "a\t"};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    struct mb_span host = {good[i], strlen(good[i])};
    tap_ok(mb_http_host_valid(host), "a host: %s", good[i]);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct mb_span host = {bad[i], strlen(bad[i])};
    tap_ok(!mb_http_host_valid(host), "no host: %s", bad[i]);
  }
  tap_ok(!mb_http_host_valid((struct mb_span){"[::1\0]", 6}), "no host: NUL in an address");
  tap_ok(!mb_http_host_valid((struct mb_span){"a\0:1", 4}), "no host: NUL in a name");
  tap_ok(!mb_http_host_valid((struct mb_span){"a%2f", 3}), "no host: an escape that is cut off");
}

static const char *text(struct mb_span part, char *to, size_t room) {
  if (!part.data) return "none";
  snprintf(to, room, "%.*s", (int)part.size, part.data);
  return to;
}

static void splits(void) {
  static const char *const cases[][3] = {
      /* target; path|query|host, or NULL; the reason to refuse it, or NULL */
      {"/", "/||none", NULL},
      {"/a/b?c=d?e", "/a/b|?c=d?e|none", NULL},
      {"/a?", "/a|?|none", NULL},
      {"/?/", "/|?/|none", NULL},
      {"//%2f%C3/../:@[]", "//%2f%C3/../:@[]||none", NULL},
      {"/-._~!$&'()*+,;=", "/-._~!$&'()*+,;=||none", NULL},
      {"/?\\^`{|}[]/?", "/|?\\^`{|}[]/?|none", NULL},
      {"/?100%&%zz%2", "/|?100%&%zz%2|none", NULL},
      {"http://b?{%", "/|?{%|b", NULL},
      {"/%", NULL, ESCAPE},
      {"/%2", NULL, ESCAPE},
      {"/%?2f", NULL, ESCAPE},
      {"/%zz", NULL, ESCAPE},
      {"/%2g", NULL, ESCAPE},
      {"/a%2fb%", NULL, ESCAPE},
      {"/%%20", NULL, ESCAPE},
      {"http://b/%", NULL, ESCAPE},
      {"/\\", NULL, PATH},
      {"/a^b?", NULL, PATH},
      {"/`", NULL, PATH},
      {"/{", NULL, PATH},
      {"/a|", NULL, PATH},
      {"/}", NULL, PATH},
      {"/\"", NULL, PATH},
      {"/<", NULL, PATH},
      {"/>", NULL, PATH},
      {"/\xc3\xa4", NULL, PATH},
      {"http://b/|", NULL, PATH},
      {"http://b:1/c?d", "/c|?d|b:1", NULL},
      {"HTTPS://b/", "/||b", NULL},
      {"http://b", "/||b", NULL},
      {"https://[::1]:8", "/||[::1]:8", NULL},
      {"http://b?/c@", "/|?/c@|b", NULL},
      {"http://b/@c", "/@c||b", NULL},
      {"http://b//", "//||b", NULL},
      {"*", NULL, STAR},
      {"**", NULL, NEITHER},
      {"*/", NULL, NEITHER},
      {"a", NULL, NEITHER},
      {"a:1", NULL, NEITHER},
      {"?a", NULL, NEITHER},
      {"ftp://a/", NULL, NEITHER},
      {"http:/a", NULL, NEITHER},
      {"http:a", NULL, NEITHER},
      {"http", NULL, NEITHER},
      {"http://", NULL, HOST},
      {"http:///a", NULL, HOST},
      {"http://:80/", NULL, HOST},
      {"http://?a", NULL, HOST},
      {"http://../", NULL, HOST},
      {"http://[v1.a]/", "/||[v1.a]", NULL},
      {"http://a:b/", NULL, HOST},
      {"http://a:65536/", NULL, HOST},
      {"http://a\\b/", NULL, HOST},
      {"http://[::1/", NULL, HOST},
      {"http://u@a/", NULL, USER},
      {"http://u:p@a", NULL, USER},
      {"http://@a", NULL, USER},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct mb_http_head head = {.method = span("GET"), .target = span(cases[i][0])};
    const char *why = mb_http_target_split(&head);
    char path[32], query[32], host[32], got[128] = "";
    if (!why) {
      snprintf(got, sizeof got, "%s|%s|%s", text(head.path, path, sizeof path),
               text(head.query, query, sizeof query), text(head.host, host, sizeof host));
    }
    tap_str(why, cases[i][2], "%s: %s", why ? "refused" : "taken", cases[i][0]);
    tap_str(why ? NULL : got, cases[i][1], "and its parts");
    if (why) continue;
    tap_ok(head.secure == (cases[i][0][0] != '/' && strchr("sS", cases[i][0][4])),
           "and its scheme");
  }
}

static void asterisk(void) {
  struct mb_http_head head = {.method = span("OPTIONS"), .target = span("*")};
  head.path = head.query = span("x");
  tap_str(mb_http_target_split(&head), NULL, "OPTIONS may ask for \"*\"");
  tap_ok(!head.path.data && !head.query.data, "which has neither path nor query");
  head.method = span("options");
  tap_str(mb_http_target_split(&head), STAR, "methods have a case");
}

static void slash(void) {
  struct mb_http_head head = {.method = span("GET"), .target = span("http://b?c")};
  tap_str(mb_http_target_split(&head), NULL, "a target without a path");
  tap_bytes(head.path.data, head.path.size, "/", 1, "has the path of a slash");
  tap_ok(head.path.data >= head.target.data && head.path.data < head.target.data + head.target.size,
         "which lies within the target, as all parts do");
}

int main(void) {
  hosts();
  splits();
  asterisk();
  slash();
  return tap_done();
}
