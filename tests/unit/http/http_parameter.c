/* src/http/http_parameter.c: names, tokens and quoted strings; malformed parameters. */
#include "http/http_parameter.h"

#include <stdio.h>
#include <string.h>

#include "../../lib/tap.h"

/* Writes what is read of a text: "name=value;" or "name=value quoted;" for each, then "end" or "wrong". */
static void read_all(struct mb_span text, bool escapes, char *to, size_t room) {
  struct mb_http_parameter p;
  int found;
  *to = '\0';
  while ((found = mb_http_parameter_next(&text, escapes, &p)) > 0) {
    size_t used = strlen(to);
    snprintf(to + used, room - used, "%.*s=%.*s%s;", (int)p.name.size, p.name.data,
             (int)p.value.size, p.value.data, p.quoted ? " quoted" : "");
  }
  strncat(to, found == 0 ? "end" : "wrong", room - strlen(to) - 1);
}

static void parameters(void) {
  static const char *const cases[][2] = {
      {"", "end"},
      {" \t", "end"},
      {";", "end"},
      {" ; ;\t; ", "end"},
      {";a=b", "a=b;end"},
      {" ;\ta=b ; c=d\t", "a=b;c=d;end"},
      {";;a=b;;c=d;;", "a=b;c=d;end"},
      {";a=\"b\"", "a=b quoted;end"},
      {";a=\"\";c=\" ;\t=,\"", "a= quoted;c= ;\t=, quoted;end"},
      {";a=\"\\\"\\\\\";c=d", "a=\\\"\\\\ quoted;c=d;end"},
      {";a=\"\\b\\\"\"", "a=\\b\\\" quoted;end"},
      {";a==b=", "a==b=;end"}, /* the caller decides whether a value has to be a token */
      {";a=b/c,d", "a=b/c,d;end"},
      {"a=b", "wrong"},
      {", a=b", "wrong"},
      {";a", "wrong"},
      {";a;c=d", "wrong"},
      {";a=", "wrong"},
      {";a=;c=d", "wrong"},
      {";=b", "wrong"},
      {";a =b; c= d;\te \t=\t \"f\" ", "a=b;c=d;e=f quoted;end"},
      {";a b=c", "wrong"},
      {"; =b", "wrong"},
      {";a= ", "wrong"},
      {";a= ;c=d", "wrong"},
      {";a=b c=d", "a=b;wrong"},
      {";a=b\"c\"", "wrong"},
      {";a=\"b", "wrong"},
      {";a=\"", "wrong"},
      {";a=\"b\\\"", "wrong"},
      {";a=\"b\\", "wrong"},
      {";a=\"b\"c", "a=b quoted;wrong"},
      {";a=\"b\";c", "a=b quoted;wrong"},
      {";\x01=b", "wrong"},
      {";\xc3\xa4=b", "wrong"},
  };
  char got[256];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    read_all((struct mb_span){cases[i][0], strlen(cases[i][0])}, true, got, sizeof got);
    tap_str(got, cases[i][1], "parameters: %s", cases[i][0]);
  }
  read_all((struct mb_span){NULL, 0}, true, got, sizeof got);
  tap_str(got, "end", "none in nothing");
}

/* Browsers do not escape: a backslash is a plain character. */
static void backslashes(void) {
  static const char *const cases[][2] = {
      {";a=\"b\\\"", "a=b\\ quoted;end"},
      {";a=\"b\\\"; c=\"\\\\\"", "a=b\\ quoted;c=\\\\ quoted;end"},
      {";a=\"b\\\"c\"", "a=b\\ quoted;wrong"},
  };
  char got[256];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    read_all((struct mb_span){cases[i][0], strlen(cases[i][0])}, false, got, sizeof got);
    tap_str(got, cases[i][1], "without escapes: %s", cases[i][0]);
  }
}

static void escapes(void) {
  tap_ok(mb_http_is_escape((struct mb_span){"\"x", 2}), "a quote is escaped");
  tap_ok(mb_http_is_escape((struct mb_span){"\\", 1}), "a backslash, too");
  tap_ok(!mb_http_is_escape((struct mb_span){"n", 1}), "a letter is not");
  tap_ok(!mb_http_is_escape((struct mb_span){"\"", 0}), "nor is what is no part of the text");
}

int main(void) {
  parameters();
  backslashes();
  escapes();
  return tap_done();
}
