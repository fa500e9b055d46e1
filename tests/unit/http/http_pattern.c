/* src/http/http_pattern.c: what is read of a pattern, matches, and steps that run out. integration/http_body.py
 * compares it with Lua on patterns made by chance. */
#include "http/http_pattern.h"

#include <stdlib.h>
#include <string.h>

#include "../../lib/tap.h"

#define MANY 10000000ul

static struct mb_span span(const char *text) { return (struct mb_span){text, strlen(text)}; }

/* Reads a pattern into memory of exactly its size. The caller frees it. */
static struct mb_http_pattern *read_pattern(const char *text, const char **ret_wrong) {
  struct mb_http_pattern *p = malloc(sizeof *p + strlen(text) * sizeof *p->items);
  if (!p) tap_bail("no memory");
  *ret_wrong = mb_http_pattern_read(span(text), p);
  return p;
}

/* Returns how many steps of `steps` a search takes, or -1 when they are not enough. */
static long long taken(const char *pattern, struct mb_span text, unsigned long steps, int want) {
  const char *wrong;
  struct mb_http_pattern *p = read_pattern(pattern, &wrong);
  unsigned long left = steps;
  int found = wrong ? 2 : mb_http_pattern_find(p, text, &left);
  tap_int(found, want, "'%s'", pattern);
  if (found < 0) tap_int((long long)left, 0, "'%s' leaves no step", pattern);
  free(p);
  return found < 0 ? -1 : (long long)(steps - left);
}

static void matches(void) {
  static const struct {
    const char *pattern, *text;
    int want;
  } cases[] = {
      {"", "", 1},
      {"^file_[0-9]+$", "file_12", 1},
      {"^file_[0-9]+$", "file_", 0},
      {"^file_[0-9]+$", "file_1x", 0},
      {"^b", "ab", 0},
      {"b", "ab", 1},
      {"a.-b.-c", "a1b2c", 1},
      {"a?b", "b", 1},
      {"^a?$", "aa", 0},
      {"%.%w*$", "a.txt", 1},
      {"^(%a+)%[(%d+)%]%[%1%]$", "ab[1][ab]", 1},
      {"^(%a+)%[(%d+)%]%[%1%]$", "ab[1][a]", 0},
      {"()%1", "aa", 0}, /* a position is no text, and matches none */
      {"^%b[]$", "[a[b]c]", 1},
      {"^%b[]$", "[a[b]c", 0},
      {"%f[%d]1%f[%D]", "a1", 1},
      {"[]-a]", "]", 1},
      {"[^%s-]", " -", 0},
      {"$a", "$a", 1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    taken(cases[i].pattern, span(cases[i].text), MANY, cases[i].want);
  }
}

static void mistakes(void) {
  static const char *const cases[] = {"x[a-%", "[]", "%f", "%fa", "%b(",
                                      "%",     "(",  ")",  "%1",  "(%1)"};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *wrong;
    free(read_pattern(cases[i], &wrong));
    tap_ok(wrong, "'%s' is wrong: %s", cases[i], wrong ? wrong : "");
  }
}

/* The steps grow with the text as the pattern says, and end where there are no more. */
static void steps(void) {
  static char text[2048];
  memset(text, 'x', sizeof text);
  struct mb_span name = {text, sizeof text};
  tap_ok(taken("^x*y$", name, MANY, 0) < 10 * 2048, "one repetition, at one place");
  tap_ok(taken("y", name, MANY, 0) < 10 * 2048, "none, at every place");
  tap_ok(taken("x*y", name, MANY, 0) > 2048 * 2048 / 2, "one at every place");
  tap_int(taken("x*y", name, 1000000, -1), -1, "it ends when the steps run out");
  tap_int(taken("^x*x*x*x*y", name, MANY, -1), -1,
          "however many places there are for a match to fail");
  tap_int(taken("%bxy", name, 1000000, -1), -1, "a search for balance takes steps, too");
  tap_int(taken("^(.-)%1y", name, 500000, -1), -1, "and a comparison with a capture");
  tap_int(taken("x", name, 0, -1), -1, "without any step there is no match");
}

int main(void) {
  matches();
  mistakes();
  steps();
  return tap_done();
}
