/*
 * Fuzz harness for the texts within field values, cookies (src/http/http_form.c) and comma-separated
 * lists (src/http/http_span.c). Simple splitters have to agree.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http/http_form.h"
#include "fuzz.h"

static struct mb_span trimmed(struct mb_span span) {
  while (span.size > 0 && (span.data[0] == ' ' || span.data[0] == '\t')) span.data++, span.size--;
  while (span.size > 0 && strchr(" \t", span.data[span.size - 1]) && span.data[span.size - 1]) {
    span.size--;
  }
  return span;
}

/* ---- cookies ---- */

static void cookies_reference(struct mb_span field, struct fuzz_text *text) {
  size_t start = 0;
  for (size_t i = 0; i <= field.size; i++) {
    if (i < field.size && field.data[i] != ';') continue;
    size_t equals = start;
    while (equals < i && field.data[equals] != '=') equals++;
    struct mb_span name = trimmed((struct mb_span){field.data + start, equals - start});
    if (equals < i && name.size > 0) {
      fuzz_add_span(text, "name", name);
      fuzz_add_span(text, "value",
                    trimmed((struct mb_span){field.data + equals + 1, i - equals - 1}));
    }
    start = i + 1;
  }
}

static void cookies(struct mb_span field) {
  struct fuzz_text got = FUZZ_TEXT_INIT, want = FUZZ_TEXT_INIT;
  struct mb_span rest = field, name, value;
  size_t before = field.size;
  while (mb_cookie_next(&rest, &name, &value)) {
    CHECK(fuzz_within(name, field) && fuzz_within(value, field), "outside of the field");
    CHECK(name.size > 0, "without a name");
    CHECK(rest.size < before && rest.data + rest.size == field.data + field.size, "%zu left",
          rest.size);
    before = rest.size;
    fuzz_add_span(&got, "name", name);
    fuzz_add_span(&got, "value", value);
  }
  CHECK(rest.size == 0, "%zu left over", rest.size);
  cookies_reference(field, &want);
  CHECK_EQUAL("the cookies", &got, &want);
  fuzz_text_free(&want);
}

/* Checks that a cookie that a server could have set comes back. */
static void set_and_get(struct mb_span text) {
  char *name = fuzz_copy(text);
  for (size_t i = 0; i < text.size; i++) {
    if (strchr("=; \t", name[i])) name[i] = '_'; /* this replaces NUL, too */
  }
  struct mb_span set = {name, text.size}, cookie_name, cookie_value;
  struct fuzz_text field = FUZZ_TEXT_INIT;
  fuzz_addf(&field, "a=\"b\"; ");
  fuzz_add(&field, set);
  fuzz_addf(&field, "=");
  fuzz_add(&field, set);
  fuzz_addf(&field, "; z");
  struct mb_span rest = fuzz_text_span(&field);
  CHECK(mb_cookie_next(&rest, &cookie_name, &cookie_value), "the first");
  CHECK(fuzz_same(cookie_value, (struct mb_span){"\"b\"", 3}), "the first's value");
  if (set.size > 0) {
    CHECK(mb_cookie_next(&rest, &cookie_name, &cookie_value), "the second");
    CHECK(fuzz_same(cookie_name, set) && fuzz_same(cookie_value, set), "the second's value");
  }
  CHECK(!mb_cookie_next(&rest, &cookie_name, &cookie_value), "a third");
  fuzz_text_free(&field);
  free(name);
}

/* ---- lists ---- */

/* Splits a list at its commas, and trims the elements. A comma in a quoted string is no separator. */
static void list_reference(struct mb_span list, struct fuzz_text *text) {
  size_t start = 0;
  bool quoted = false, escaped = false;
  for (size_t i = 0; i <= list.size; i++) {
    char c = i < list.size ? list.data[i] : ',';
    if (i < list.size && escaped) {
      escaped = false;
    } else if (i < list.size && quoted) {
      escaped = c == '\\';
      quoted = c != '"';
    } else if (c == '"') {
      quoted = true;
    } else if (c == ',') {
      struct mb_span element = trimmed((struct mb_span){list.data + start, i - start});
      if (element.size > 0) fuzz_add_span(text, "element", element);
      start = i + 1;
    }
  }
}

static void lists(struct mb_span list) {
  struct fuzz_text got = FUZZ_TEXT_INIT, want = FUZZ_TEXT_INIT;
  struct mb_span rest = list, element;
  size_t before = list.size;
  while (mb_http_list_next(&rest, &element)) {
    CHECK(fuzz_within(element, list), "outside of the list");
    CHECK(element.size > 0 && fuzz_same(element, mb_http_trim(element)), "not trimmed");
    CHECK(rest.size < before && rest.data + rest.size == list.data + list.size, "%zu left",
          rest.size);
    before = rest.size;
    fuzz_add_span(&got, "element", element);
  }
  CHECK(rest.size == 0, "%zu left over", rest.size);
  list_reference(list, &want);
  CHECK_EQUAL("the list", &got, &want);
  fuzz_text_free(&want);
}

/* ---- small readers ---- */

static void readers(struct mb_span span) {
  static const char *const words[] = {"close", "keep-alive", "chunked", "", "host"};
  CHECK(fuzz_same(mb_http_trim(span), trimmed(span)), "trim");
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    bool same = span.size == strlen(words[i]) && strncasecmp(span.data, words[i], span.size) == 0;
    CHECK(mb_http_equals(span, words[i]) == same, "%s", words[i]);
  }
  bool token = true;
  for (size_t i = 0; i < span.size; i++) {
    char c = span.data[i];
    bool special = c && strchr("\"(),/:;<=>?@[\\]{}", c);
    token = token && (unsigned char)c > ' ' && (unsigned char)c < 0x7f && !special;
    const char *digits = "00112233445566778899aAbBcCdDeEfF";
    const char *digit = c ? strchr(digits, c) : NULL;
    CHECK(mb_http_hex(c) == (digit ? (int)((digit - digits) / 2) : -1), "hex of %d", c);
  }
  CHECK(mb_http_all(span, MB_HTTP_TOKEN) == token, "token");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct mb_span input = fuzz_input(data, size);
  cookies(input);
  set_and_get(input);
  lists(input);
  readers(input);
  fuzz_input_free(input);
  return 0;
}
