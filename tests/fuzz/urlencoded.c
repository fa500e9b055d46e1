/*
 * Fuzz harness for the forms and encodings of src/http/http_form.c. A simple splitter agrees with ours,
 * decoding undoes encoding, and an encoded text has no character that a reader takes for syntax.
 */
#include <stdlib.h>
#include <string.h>

#include "http/http_form.h"
#include "fuzz.h"

#define UNRESERVED "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"

static bool is_hex(char c) { return c && strchr("0123456789abcdefABCDEF", c); }

/* ---- splitting ---- */

static void split_reference(struct mb_span form, struct fuzz_text *text) {
  size_t start = 0;
  for (size_t i = 0; i <= form.size; i++) {
    if (i < form.size && form.data[i] != '&') continue;
    struct mb_span name = {form.data + start, 0}, value = {form.data + i, 0};
    while (start + name.size < i && form.data[start + name.size] != '=') name.size++;
    if (start + name.size < i) {
      value = (struct mb_span){name.data + name.size + 1, i - start - name.size - 1};
    }
    if (start < i) {
      fuzz_add_span(text, "name", name);
      fuzz_add_span(text, "value", value);
    }
    start = i + 1;
  }
}

static void split(struct mb_span form) {
  struct fuzz_text got = FUZZ_TEXT_INIT, want = FUZZ_TEXT_INIT;
  struct mb_span rest = form, name, value;
  size_t before = form.size;
  while (mb_form_next(&rest, &name, &value)) {
    CHECK(fuzz_within(name, form) && fuzz_within(value, form), "outside of the form");
    CHECK(rest.size < before && rest.data + rest.size == form.data + form.size, "%zu left",
          rest.size);
    before = rest.size;
    fuzz_add_span(&got, "name", name);
    fuzz_add_span(&got, "value", value);
  }
  CHECK(rest.size == 0, "%zu left over", rest.size);
  split_reference(form, &want);
  CHECK_EQUAL("the form's pieces", &got, &want);
  fuzz_text_free(&want);
}

/* ---- decoding ---- */

static void decode_reference(struct mb_span from, bool plus, struct fuzz_text *text) {
  for (size_t i = 0; i < from.size; i++) {
    char c = from.data[i];
    if (c == '+' && plus) c = ' ';
    if (c == '%' && from.size - i > 2 && is_hex(from.data[i + 1]) && is_hex(from.data[i + 2])) {
      char digits[3] = {from.data[i + 1], from.data[i + 2], '\0'};
      c = (char)strtoul(digits, NULL, 16);
      i += 2;
    }
    fuzz_add(text, (struct mb_span){&c, 1});
  }
}

static void decode(struct mb_span from, bool plus) {
  struct fuzz_text want = FUZZ_TEXT_INIT, got = FUZZ_TEXT_INIT, in_place = FUZZ_TEXT_INIT;
  decode_reference(from, plus, &want);
  char *to = malloc(from.size), *over = fuzz_copy(from);
  if (!to) abort();
  size_t size = mb_form_decode(to, from, plus);
  CHECK(size <= from.size, "%zu of %zu", size, from.size);
  fuzz_add(&got, (struct mb_span){to, size});
  CHECK_EQUAL("decoded", &got, &want);
  size = mb_form_decode(over, (struct mb_span){over, from.size}, plus);
  fuzz_add(&in_place, (struct mb_span){over, size});
  CHECK_EQUAL("decoded in place", &in_place, &want);
  free(to);
  free(over);
  fuzz_text_free(&want);
}

/* ---- encoding ---- */

static void encode(struct mb_span from) {
  /* This is exactly the most room that it is documented to need. */
  char *to = malloc(3 * from.size), *back = malloc(3 * from.size);
  if (!to || !back) abort();
  struct mb_span encoded = {to, mb_form_encode(to, from)};
  CHECK(encoded.size <= 3 * from.size, "%zu", encoded.size);
  for (size_t i = 0; i < encoded.size; i++) {
    if (to[i] == '%') {
      CHECK(encoded.size - i > 2 && is_hex(to[i + 1]) && is_hex(to[i + 2]), "at %zu", i);
      CHECK(!(to[i + 1] >= 'a' || to[i + 2] >= 'a'), "lower case at %zu", i);
    } else {
      CHECK(to[i] && strchr(UNRESERVED, to[i]), "at %zu", i);
    }
  }
  for (int plus = 0; plus < 2; plus++) {
    struct mb_span decoded = {back, mb_form_decode(back, encoded, plus)};
    CHECK(fuzz_same(decoded, from), "not what was encoded");
  }
  free(to);
  free(back);
}

/* Checks that a pair of any bytes comes back when it was encoded, and so does the pair behind it. */
static void encode_pair(struct mb_span name, struct mb_span value) {
  size_t room = 3 * (name.size + value.size);
  char *to = malloc(room + 10), *back = malloc(room);
  if (!to || !back) abort();
  size_t size = mb_form_encode(to, name);
  to[size++] = '=';
  size += mb_form_encode(to + size, value);
  memcpy(to + size, "&&b", 3);
  struct mb_span form = {to, size + 3}, got_name, got_value;
  CHECK(mb_form_next(&form, &got_name, &got_value), "no pair");
  CHECK(fuzz_same((struct mb_span){back, mb_form_decode(back, got_name, true)}, name), "name");
  CHECK(fuzz_same((struct mb_span){back, mb_form_decode(back, got_value, true)}, value), "value");
  CHECK(mb_form_next(&form, &got_name, &got_value), "no second pair");
  CHECK(fuzz_same(got_name, (struct mb_span){"b", 1}) && got_value.size == 0, "second pair");
  CHECK(!mb_form_next(&form, &got_name, &got_value), "a third pair");
  free(to);
  free(back);
}

/* ---- HTML ---- */

static void encode_html(struct mb_span from) {
  static const struct {
    const char *reference;
    char stands_for;
  } known[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&#39;", '\''}};
  struct fuzz_text back = FUZZ_TEXT_INIT, want = FUZZ_TEXT_INIT;
  char *to = malloc(6 * from.size);
  if (!to) abort();
  size_t size = mb_html_encode(to, from);
  CHECK(size <= 6 * from.size, "%zu", size);
  for (size_t i = 0; i < size;) {
    char c = to[i];
    size_t length = 1;
    CHECK(!c || !strchr("<>\"'", c), "a bare %c", c);
    if (c == '&') {
      size_t k = 0;
      while (k < 5 && (strlen(known[k].reference) > size - i ||
                       memcmp(to + i, known[k].reference, strlen(known[k].reference)) != 0)) {
        k++;
      }
      CHECK(k < 5, "a bare &");
      c = known[k].stands_for;
      length = strlen(known[k].reference);
    }
    fuzz_add(&back, (struct mb_span){&c, 1});
    i += length;
  }
  fuzz_add(&want, from);
  CHECK_EQUAL("HTML read back", &back, &want);
  fuzz_text_free(&want);
  free(to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct mb_span input = fuzz_input(data, size);
  split(input);
  decode(input, true);
  decode(input, false);
  encode(input);
  size_t half = fuzz_piece(input, 0, FUZZ_BY_INPUT);
  encode_pair((struct mb_span){input.data, half},
              (struct mb_span){input.data + half, input.size - half});
  encode_html(input);
  fuzz_input_free(input);
  return 0;
}
