/*
 * Fuzz harness for src/http/http_chunked.c. A simple decoder of whole bodies has to agree with it, however
 * the bytes come in pieces and however little the caller takes. Content that was encoded comes back.
 */
#include <stdlib.h>
#include <string.h>

#include "http/http_chunked.h"
#include "fuzz.h"

#define TOKEN                                                      \
  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" \
  "!#$%&'*+-.^_`|~"
#define HEX "0123456789abcdefABCDEF"

enum verdict { INCOMPLETE, ENDED, REFUSED };

struct result {
  enum verdict verdict;
  size_t consumed; /* bytes of a body that has ended */
  struct fuzz_text content;
  struct mb_http_refusal refusal;
};

/* ---- the reference ---- */

struct reference {
  struct result result;
  size_t extra_least, extra_most; /* how many bytes one may count as extensions and trailers */
  bool may_be_too_long;           /* by one way of counting it is too long, by another it is not */
  bool too_long;                  /* by every way of counting */
};

/* Counts a line of framing. One may count it towards a limit with or without its line end. */
static void count_line(struct reference *r, size_t line, size_t extra, bool has_extra) {
  r->extra_least += extra;
  r->extra_most += has_extra ? extra + 2 : 0;
  r->may_be_too_long = r->may_be_too_long || line + 2 > MB_HTTP_CHUNK_LINE_MAX ||
                       r->extra_most > MB_HTTP_CHUNK_EXTRA_MAX;
  r->too_long =
      r->too_long || line > MB_HTTP_CHUNK_LINE_MAX || r->extra_least > MB_HTTP_CHUNK_EXTRA_MAX;
}

static bool values_only(struct mb_span span) {
  for (size_t i = 0; i < span.size; i++) {
    unsigned char c = (unsigned char)span.data[i];
    if ((c < ' ' && c != '\t') || c == 0x7f) return false;
  }
  return true;
}

static size_t run_of(struct mb_span span, const char *set) {
  size_t size = 0;
  while (size < span.size && span.data[size] && strchr(set, span.data[size])) size++;
  return size;
}

struct line {
  struct mb_span text; /* without its line end, also when the line end is incomplete */
  bool has_cr, has_lf;
};

static struct line take_line(struct mb_span *rest) {
  struct line line = {.has_lf = memchr(rest->data, '\n', rest->size)};
  line.text = fuzz_take_line(rest);
  line.has_cr = line.text.size > 0 && line.text.data[line.text.size - 1] == '\r';
  if (line.has_cr) line.text.size--;
  return line;
}

static void pass(struct mb_span *rest, size_t count) {
  rest->data += count;
  rest->size -= count;
}

/*
 * Passes over a quoted string, which may not have ended. Returns whether it is good so far. A body whose
 * line has ended needs the closing quote.
 */
static bool pass_quoted(struct mb_span *rest, bool ended) {
  pass(rest, 1);
  while (rest->size > 0 && rest->data[0] != '"') {
    size_t count = rest->data[0] == '\\' ? 2 : 1;
    pass(rest, count < rest->size ? count : rest->size);
  }
  if (rest->size == 0) return !ended;
  pass(rest, 1);
  return true;
}

/* Returns whether extensions are good, or, when they have not ended, extensions that begin so may be. */
static bool extensions_are_good(struct mb_span rest, bool ended) {
  if (!values_only(rest)) return false;
  for (;;) {
    pass(&rest, run_of(rest, " \t"));
    if (rest.size == 0) return true;
    if (rest.data[0] != ';') return false;
    pass(&rest, 1);
    pass(&rest, run_of(rest, " \t"));
    if (rest.size == 0) return !ended;
    size_t name = run_of(rest, TOKEN);
    if (name == 0) return false;
    pass(&rest, name);
    pass(&rest, run_of(rest, " \t"));
    if (rest.size == 0 || rest.data[0] != '=') continue;
    pass(&rest, 1);
    pass(&rest, run_of(rest, " \t"));
    if (rest.size == 0) return !ended;
    if (rest.data[0] == '"') {
      if (!pass_quoted(&rest, ended)) return false;
    } else {
      size_t value = run_of(rest, TOKEN);
      if (value == 0) return false;
      pass(&rest, value);
    }
  }
}

/* Returns whether the line is good, or, when it has not ended, a line that begins with it may be. */
static bool read_size(struct reference *r, struct mb_span line, bool ended, uint64_t *ret_size) {
  size_t digits = run_of(line, HEX);
  struct mb_span extension = {line.data + digits, line.size - digits};
  size_t zeros = digits > MB_HTTP_CHUNK_DIGITS ? digits - MB_HTTP_CHUNK_DIGITS : 0;
  count_line(r, line.size, zeros + extension.size, zeros + extension.size > 0);
  *ret_size = 0;
  for (size_t i = 0; i < digits; i++) {
    char text[2] = {line.data[i], '\0'};
    if (*ret_size > INT64_MAX / 16) return false; /* the size would be 2^63 or more */
    *ret_size = *ret_size * 16 + strtoul(text, NULL, 16);
  }
  if (digits == 0) return line.size == 0 && !ended;
  return extensions_are_good(extension, ended);
}

static bool trailer_is_good(struct mb_span line, bool ended) {
  size_t name = run_of(line, TOKEN);
  if (name == line.size) return !ended;
  struct mb_span value = {line.data + name + 1, line.size - name - 1};
  return name > 0 && line.data[name] == ':' && values_only(value);
}

static enum verdict read_trailers(struct reference *r, struct mb_span *rest) {
  while (rest->size > 0) {
    struct line line = take_line(rest);
    struct mb_span text = line.text;
    if (line.has_cr && text.size == 0) return line.has_lf ? ENDED : INCOMPLETE;
    count_line(r, text.size, text.size, true);
    if (line.has_lf && !line.has_cr) return REFUSED;
    if (!trailer_is_good(text, line.has_cr)) return REFUSED;
  }
  return INCOMPLETE;
}

static enum verdict read_chunks(struct reference *r, struct mb_span *rest) {
  while (rest->size > 0) {
    struct line line = take_line(rest);
    uint64_t size;
    bool good = read_size(r, line.text, line.has_cr, &size);
    if (!good || (line.has_lf && !line.has_cr)) return REFUSED;
    if (!line.has_lf) return INCOMPLETE;
    if (size == 0) return read_trailers(r, rest);
    struct mb_span content = {rest->data, size < rest->size ? (size_t)size : rest->size};
    fuzz_add(&r->result.content, content);
    rest->data += content.size;
    rest->size -= content.size;
    size_t behind = rest->size < 2 ? rest->size : 2;
    if (memcmp(rest->data, "\r\n", behind) != 0) return REFUSED;
    rest->data += behind;
    rest->size -= behind;
    if (behind < 2) return INCOMPLETE;
  }
  return INCOMPLETE;
}

static void read_reference(struct mb_span input, struct reference *ret) {
  struct mb_span rest = input;
  *ret = (struct reference){0};
  ret->result.verdict = read_chunks(ret, &rest);
  ret->result.consumed = input.size - rest.size;
}

/* ---- the code under test ---- */

/* Feeds one piece. Returns how much of it was taken. */
static size_t feed_piece(struct mb_http_chunked *c, struct mb_span piece, bool take_less,
                         struct result *to) {
  struct mb_span rest = piece;
  while (rest.size > 0 && !mb_http_chunked_ended(c)) {
    size_t framing = SIZE_MAX, content = SIZE_MAX;
    if (!mb_http_chunked_next(c, rest.data, rest.size, &framing, &content, &to->refusal)) {
      to->verdict = REFUSED;
      CHECK(to->refusal.status == 400 || to->refusal.status == 413, "%d", to->refusal.status);
      CHECK(to->refusal.why, "without a reason");
      break;
    }
    CHECK(framing <= rest.size && content <= rest.size - framing, "%zu, %zu of %zu", framing,
          content, rest.size);
    CHECK(framing > 0 || content > 0, "no progress");
    if (content == 0 && !mb_http_chunked_ended(c)) CHECK(framing == rest.size, "%zu", framing);
    CHECK(content <= c->left, "%zu of content", content);
    size_t take = take_less ? (content + 1) / 2 : content;
    fuzz_add(&to->content, (struct mb_span){rest.data + framing, take});
    mb_http_chunked_take(c, take);
    rest.data += framing + take;
    rest.size -= framing + take;
  }
  return piece.size - rest.size;
}

/* Feeds no bytes, which must change nothing in any state. */
static void feed_nothing(struct mb_http_chunked *c) {
  size_t framing, content;
  struct mb_http_refusal refusal;
  struct mb_http_chunked before = *c;
  CHECK(mb_http_chunked_next(c, "x", 0, &framing, &content, &refusal), "%s", refusal.why);
  CHECK(framing == 0 && content == 0, "%zu, %zu", framing, content);
  mb_http_chunked_take(c, 0);
  CHECK(c->state == before.state && c->left == before.left, "state %d", c->state);
}

static struct result feed(struct mb_span input, enum fuzz_split split) {
  struct mb_http_chunked c = MB_HTTP_CHUNKED_INIT;
  struct result to = {0};
  size_t size;
  for (size_t at = 0; (size = fuzz_piece(input, at, split)) > 0; at += size) {
    struct mb_span piece = {input.data + at, size};
    piece.data = fuzz_copy(piece);
    to.consumed += feed_piece(&c, piece, split == FUZZ_BY_INPUT, &to);
    if (mb_http_chunked_ended(&c)) {
      size_t framing, content;
      CHECK(mb_http_chunked_next(&c, piece.data, size, &framing, &content, &to.refusal), "ended");
      CHECK(framing == 0 && content == 0, "%zu and %zu after the end", framing, content);
      to.verdict = ENDED;
    }
    free((void *)(uintptr_t)piece.data);
    if (to.verdict != INCOMPLETE) break;
    feed_nothing(&c);
  }
  return to;
}

/* ---- the harness ---- */

static void check(struct result *got, const struct result *want, enum fuzz_split split) {
  CHECK(got->verdict == want->verdict, "%d instead of %d, split %d: %s", (int)got->verdict,
        (int)want->verdict, (int)split, got->refusal.why ? got->refusal.why : "");
  if (want->verdict == ENDED) CHECK(got->consumed == want->consumed, "%zu", got->consumed);
  CHECK_EQUAL("content", &got->content, &want->content);
}

static void decode(struct mb_span input) {
  struct reference reference;
  read_reference(input, &reference);
  if (reference.too_long) reference.result.verdict = REFUSED;
  struct result whole = feed(input, FUZZ_WHOLE);
  for (enum fuzz_split split = FUZZ_BYTES; split < FUZZ_SPLITS; split++) {
    struct result got = feed(input, split);
    CHECK(got.refusal.status == whole.refusal.status && got.refusal.why == whole.refusal.why,
          "split %d: %s", (int)split, got.refusal.why ? got.refusal.why : "not refused");
    check(&got, &whole, split);
  }
  if (whole.verdict == REFUSED && whole.refusal.status == 413) {
    CHECK(reference.may_be_too_long, "%s", whole.refusal.why);
    fuzz_text_free(&whole.content);
  } else if (reference.too_long) {
    CHECK(whole.verdict == REFUSED, "no limit");
    fuzz_text_free(&whole.content);
  } else {
    check(&whole, &reference.result, FUZZ_WHOLE);
  }
  fuzz_text_free(&reference.result.content);
}

/* Checks that encoded content comes back, and that the bytes behind it are left alone. */
static void encode_and_decode(struct mb_span content) {
  struct result want = {.verdict = ENDED};
  struct fuzz_text body = FUZZ_TEXT_INIT;
  size_t size;
  for (size_t at = 0; (size = fuzz_piece(content, at, FUZZ_BY_INPUT)) > 0; at += size) {
    fuzz_addf(&body, size % 2 ? "%zX \r\n" : "%02zx ;a=\"b\"\r\n", size);
    fuzz_add(&body, (struct mb_span){content.data + at, size});
    fuzz_addf(&body, "\r\n");
  }
  fuzz_addf(&body, "000\r\nTrailer: field\r\n\r\n");
  want.consumed = body.size;
  fuzz_addf(&body, "0\r\n\r\n");
  fuzz_add(&want.content, content);
  for (enum fuzz_split split = FUZZ_WHOLE; split < FUZZ_SPLITS; split++) {
    struct result got = feed(fuzz_text_span(&body), split);
    check(&got, &want, split);
  }
  fuzz_text_free(&body);
  fuzz_text_free(&want.content);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct mb_span input = fuzz_input(data, size);
  decode(input);
  /* Every chunk adds to the extensions: more of them would reach their limit. */
  if (input.size <= 4096) encode_and_decode(input);
  fuzz_input_free(input);
  return 0;
}
