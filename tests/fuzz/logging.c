/*
 * Fuzz harness for what a log shows (src/base/log_escape.c, log_line.c, log_printed.c, log.c), and the lines of the
 * request log (src/http/http_access.c). A simple
 * escaper has to agree, however a text is printed piece by piece; lines and messages keep to their limits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "base/log_escape.h"
#include "base/log_line.h"
#include "base/log_printed.h"
#include "fuzz.h"
#include "http/http_access.h"

#define NAME "mb-handle: "

/* Nothing here depends on the time. */
int64_t mb_now_usec(void) { return 1; }

/* ---- the simple escaper ---- */

/* Returns the size of the character that begins at p, by decoding and encoding it again; 0: none does. */
static size_t character(const unsigned char *p, size_t size, uint32_t *ret) {
  for (size_t len = 1; len <= 4 && len <= size; len++) {
    uint32_t c = len == 1 ? p[0] : p[0] & (0x3fu >> (len - 1));
    for (size_t i = 1; i < len; i++) c = c << 6 | (p[i] & 0x3f);
    unsigned char again[4] = {(unsigned char)c};
    size_t need = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    uint32_t rest = c;
    for (size_t i = need - 1; i > 0; i--, rest >>= 6)
      again[i] = (unsigned char)(0x80 | (rest & 0x3f));
    if (need > 1) again[0] = (unsigned char)((0xf00u >> need) | rest);
    if (need != len || memcmp(again, p, len) != 0) continue;
    *ret = c;
    return c <= 0x10ffff && (c < 0xd800 || c > 0xdfff) ? len : 0;
  }
  return 0;
}

static bool is_control(uint32_t c) {
  return (c < 0x20 && c != '\t') || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e ||
         c == 0x200f || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

static void escape(struct fuzz_text *to, struct mb_span text) {
  while (text.size > 0) {
    uint32_t c = 0;
    const unsigned char *p = (const unsigned char *)text.data;
    size_t len = character(p, text.size, &c);
    if (len > 0 && !is_control(c)) {
      fuzz_add(to, (struct mb_span){text.data, len});
    } else {
      if (len == 0) len = 1;
      for (size_t i = 0; i < len; i++) fuzz_addf(to, "\\x%02x", p[i]);
    }
    text.data += len;
    text.size -= len;
  }
}

/* Checks that a text has nothing that the log may not show, but for line ends. */
static void check_clean(struct mb_span text) {
  for (size_t i = 0; i < text.size;) {
    uint32_t c = 0;
    size_t len = character((const unsigned char *)text.data + i, text.size - i, &c);
    CHECK(len > 0 && (c == '\n' || !is_control(c)), "at %zu: U+%04X", i, c);
    i += len;
  }
}

/* ---- descriptor 2 ---- */

static int log_fd, stderr_fd;

static void capture_begin(void) {
  if (log_fd == 0) {
    log_fd = memfd_create("log", 0);
    stderr_fd = dup(STDERR_FILENO);
  }
  dup2(log_fd, STDERR_FILENO);
}

/* Moves what was written to the text. */
static void capture_end(struct fuzz_text *text) {
  dup2(stderr_fd, STDERR_FILENO);
  char bytes[4096];
  lseek(log_fd, 0, SEEK_SET);
  for (ssize_t n; (n = read(log_fd, bytes, sizeof bytes)) > 0;)
    fuzz_add(text, (struct mb_span){bytes, (size_t)n});
  CHECK(ftruncate(log_fd, 0) == 0 && lseek(log_fd, 0, SEEK_SET) == 0, "the log is empty");
}

/* ---- what is checked ---- */

static void check_escape(struct mb_span text) {
  struct fuzz_text want = FUZZ_TEXT_INIT, got = FUZZ_TEXT_INIT;
  escape(&want, text);
  /* Little room: the pieces together are the same. */
  const char *at = text.data, *end = text.data + text.size;
  while (at < end) {
    char piece[17];
    size_t len = mb_log_show(piece, sizeof piece, &at, end);
    CHECK(len > 0 && len <= sizeof piece, "%zu", len);
    fuzz_add(&got, (struct mb_span){piece, len});
  }
  CHECK_EQUAL("what is shown", &got, &want);
  fuzz_text_free(&want);
  size_t rest = mb_log_unfinished(text.data, text.size);
  CHECK(rest <= 3 && rest <= text.size, "%zu unfinished", rest);
}

static void print(struct mb_span text, enum fuzz_split split, struct fuzz_text *got) {
  static FILE *script;
  if (!script) {
    FILE *out = stdout, *err = stderr;
    CHECK(mb_log_capture_stdio() == 0, "no memory");
    script = stdout;
    stdout = out;
    stderr = err;
  }
  capture_begin();
  for (size_t at = 0, size; (size = fuzz_piece(text, at, split)) > 0; at += size)
    fwrite(text.data + at, 1, size, script);
  mb_log_flush();
  capture_end(got);
}

static bool begins_with(struct mb_span text, const char *what) {
  return text.size >= strlen(what) && memcmp(text.data, what, strlen(what)) == 0;
}

static void check_plain(struct mb_span text, enum fuzz_split split) {
  struct fuzz_text want = FUZZ_TEXT_INIT, got = FUZZ_TEXT_INIT;
  mb_log_set_target(MB_LOG_PLAIN);
  for (struct mb_span rest = text; rest.size > 0;) {
    struct mb_span line = fuzz_take_line(&rest);
    if (begins_with(line, "mb-handle:")) {
      fuzz_addf(&want, "\\x6d");
      line.data++;
      line.size--;
    }
    escape(&want, line);
    fuzz_addf(&want, "\n");
  }
  print(text, split, &got);
  CHECK_EQUAL("what is printed", &got, &want);
  fuzz_text_free(&want);
}

/* Adds a text without its line ends, and with "<" for "\x3c", also where a line ends within that. */
static void add_undisguised(struct fuzz_text *to, struct mb_span text) {
  struct fuzz_text joined = FUZZ_TEXT_INIT;
  while (text.size > 0) fuzz_add(&joined, fuzz_take_line(&text));
  struct mb_span rest = fuzz_text_span(&joined);
  while (rest.size > 0) {
    bool disguised = begins_with(rest, "\\x3c");
    fuzz_add(to, disguised ? (struct mb_span){"<", 1} : (struct mb_span){rest.data, 1});
    size_t len = disguised ? 4 : 1;
    rest.data += len;
    rest.size -= len;
  }
  fuzz_text_free(&joined);
}

static void check_journal(struct mb_span text, enum fuzz_split split) {
  struct fuzz_text shown = FUZZ_TEXT_INIT, want = FUZZ_TEXT_INIT, printed = FUZZ_TEXT_INIT,
                   got = FUZZ_TEXT_INIT;
  mb_log_set_target(MB_LOG_JOURNAL);
  for (struct mb_span rest = text; rest.size > 0;) escape(&shown, fuzz_take_line(&rest));
  add_undisguised(&want, fuzz_text_span(&shown));
  print(text, split, &printed);
  check_clean(fuzz_text_span(&printed));
  add_undisguised(&got, fuzz_text_span(&printed));
  CHECK_EQUAL("what is printed", &got, &want);
  for (struct mb_span rest = fuzz_text_span(&printed); rest.size > 0;) {
    struct mb_span line = fuzz_take_line(&rest);
    CHECK(line.size > 0 && line.size <= MB_LOG_LINE_MAX + 64, "a line of %zu bytes", line.size);
    CHECK(line.size < 2 || line.data[0] != '<' || line.data[1] < '0' || line.data[1] > '9',
          "a level");
  }
  fuzz_text_free(&shown);
  fuzz_text_free(&want);
  fuzz_text_free(&printed);
}

static void check_message(struct mb_span text) {
  struct fuzz_text got = FUZZ_TEXT_INIT;
  mb_log_set_target(MB_LOG_PLAIN);
  capture_begin();
  mb_log_text(LOG_ERR, text.data, text.size);
  capture_end(&got);
  check_clean(fuzz_text_span(&got));
  int lines = 0;
  for (struct mb_span rest = fuzz_text_span(&got); rest.size > 0; lines++) {
    struct mb_span line = fuzz_take_line(&rest);
    CHECK(begins_with(line, lines == 0 ? NAME : NAME "\t"), "line %d is marked", lines + 1);
    CHECK(line.size <= MB_LOG_LINE_MAX + 104, "a line of %zu bytes", line.size);
  }
  CHECK(lines <= 41, "%d lines", lines);
  fuzz_text_free(&got);
}

/* ---- the request log ---- */

/* Shows a field in a simple way, as one of the combined format. */
static void show_field(struct fuzz_text *to, struct mb_span field) {
  for (size_t i = 0; i < field.size; i++) {
    unsigned char c = (unsigned char)field.data[i];
    bool plain = c >= ' ' && c < 0x7f && c != '"' && c != '\\';
    fuzz_addf(to, plain ? "%c" : "\\x%02x", c);
  }
}

static void check_field(struct mb_span text) {
  enum { LIMIT = MB_HTTP_ACCESS_HOST_MAX };
  struct fuzz_text whole = FUZZ_TEXT_INIT;
  char got[LIMIT + 1];
  show_field(&whole, text);
  struct mb_span want = fuzz_text_span(&whole);
  mb_http_access_field(text, LIMIT, got);
  size_t len = strlen(got);
  if (want.size <= LIMIT) {
    CHECK(len == want.size && (len == 0 || memcmp(got, want.data, len) == 0), "a field: %s", got);
  } else {
    CHECK(len <= LIMIT && len > LIMIT - 7 && strcmp(got + len - 3, "...") == 0, "a cut: %s", got);
    CHECK(memcmp(got, want.data, len - 3) == 0, "a field that is cut: %s", got);
  }
  fuzz_text_free(&whole);
}

/* Whatever a client sends: the line has its limit, is printable ASCII, and has as many fields as any other. */
static void check_access(struct mb_span text) {
  const struct mb_span empty = {"", 0};
  struct mb_http_access a = {.peer = "::1", .line = text, .status = 200};
  a.method = a.target = a.protocol = a.host = a.referer = a.agent = text;
  int marks[2][MB_HTTP_ACCESS_JSON + 1] = {{0}};
  check_field(text);
  for (int round = 0; round < 2; round++) {
    for (int format = MB_HTTP_ACCESS_COMBINED; format <= MB_HTTP_ACCESS_JSON; format++) {
      char line[MB_HTTP_ACCESS_LINE_MAX];
      size_t size = mb_http_access_line((enum mb_http_access_format)format, &a, line);
      CHECK(size < sizeof line, "%zu bytes", size);
      for (size_t i = 0; i < size; i++) {
        CHECK(line[i] >= ' ' && line[i] < 0x7f, "byte %d", line[i]);
        marks[round][format] += line[i] == '"';
        if (format == MB_HTTP_ACCESS_JSON && line[i] == '\\') i++;
      }
    }
    a.method = a.target = a.protocol = a.host = a.referer = a.agent = empty;
  }
  /* Without data there is null, and no text. */
  if (text.data) CHECK(memcmp(marks[0], marks[1], sizeof marks[0]) == 0, "quotation marks");
  mb_http_access_split(&a);
  CHECK(!a.method.data || (fuzz_within(a.method, text) && fuzz_within(a.protocol, text)), "parts");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct mb_span input = fuzz_input(data, size);
  check_escape(input);
  for (int split = 0; split < FUZZ_SPLITS; split++) {
    check_plain(input, (enum fuzz_split)split);
    check_journal(input, (enum fuzz_split)split);
  }
  check_message(input);
  check_access(input);
  fuzz_input_free(input);
  return 0;
}
