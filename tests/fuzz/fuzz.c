/* The functions that all fuzz harnesses use. */
#include "fuzz.h"

#include <sanitizer/asan_interface.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUN_MARK '\xff'

static struct mb_span current; /* the input, to show when a check fails */

/* ---- checks ---- */

/* Shows the bytes as an argument of printf(1), so that one can read a finding, and put it into a file. */
static void show(const char *title, struct mb_span span) {
  fprintf(stderr, "%s (%zu bytes): '", title, span.size);
  for (size_t i = 0; i < span.size; i++) {
    unsigned char c = (unsigned char)span.data[i];
    if (c == '\r') {
      fputs("\\r", stderr);
    } else if (c == '\n') {
      fputs("\\n", stderr);
    } else if (c < ' ' || c >= 0x7f || c == '\\' || c == '\'' || c == '%') {
      fprintf(stderr, "\\%03o", c);
    } else {
      fputc(c, stderr);
    }
  }
  fputs("'\n", stderr);
}

_Noreturn void fuzz_fail(const char *file, int line, const char *format, ...) {
  fprintf(stderr, "%s:%d: ", file, line);
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  show("input", current);
  abort();
}

void fuzz_show(const char *title, struct mb_span span) {
  if (getenv("FUZZ_SHOW")) show(title, span);
}

/* ---- the input ---- */

static void *allocate(size_t size) {
  void *memory = malloc(size);
  if (!memory) abort();
  return memory;
}

/* Writes the expansion to `to`, which may be NULL. Returns its size. */
static size_t expand(char *to, const uint8_t *data, size_t size) {
  size_t written = 0;
  for (size_t i = 0; i < size && written < FUZZ_INPUT_MAX;) {
    size_t times = 1, length = 1;
    if ((char)data[i] == RUN_MARK && size - i > 3) {
      times = data[i + 1];
      length = data[i + 2];
      i += 3;
      if (length > size - i) length = size - i;
    }
    for (size_t n = 0; n < times && written + length <= FUZZ_INPUT_MAX; n++) {
      if (to && length > 0) memcpy(to + written, data + i, length);
      written += length;
    }
    i += length;
  }
  return written;
}

struct mb_span fuzz_input(const uint8_t *data, size_t size) {
  size_t expanded = expand(NULL, data, size);
  char *bytes = allocate(expanded);
  expand(bytes, data, size);
  current = (struct mb_span){bytes, expanded};
  return current;
}

void fuzz_input_free(struct mb_span input) {
  current = (struct mb_span){NULL, 0};
  free((void *)(uintptr_t)input.data);
}

struct mb_span fuzz_take_line(struct mb_span *input) {
  const char *end = input->size > 0 ? memchr(input->data, '\n', input->size) : NULL;
  struct mb_span line = {input->data, end ? (size_t)(end - input->data) : input->size};
  size_t taken = end ? line.size + 1 : line.size;
  input->data += taken;
  input->size -= taken;
  return line;
}

char *fuzz_copy(struct mb_span span) {
  char *bytes = allocate(span.size);
  if (span.size > 0) memcpy(bytes, span.data, span.size);
  return bytes;
}

char *fuzz_hidden(struct mb_span span) {
  char *bytes = fuzz_copy(span);
  ASAN_POISON_MEMORY_REGION(bytes, span.size);
  return bytes;
}

void fuzz_reveal(const char *bytes, size_t shown, size_t more) {
  /* For each 8 bytes, AddressSanitizer stores how many of them, from the first on, may be read. */
  size_t from = shown & ~(size_t)7;
  ASAN_UNPOISON_MEMORY_REGION(bytes + from, shown + more - from);
}

bool fuzz_same(struct mb_span a, struct mb_span b) {
  return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool fuzz_within(struct mb_span part, struct mb_span whole) {
  if (part.size == 0) return true;
  uintptr_t start = (uintptr_t)whole.data, at = (uintptr_t)part.data;
  return at >= start && at - start <= whole.size && part.size <= whole.size - (at - start);
}

/* ---- pieces ---- */

size_t fuzz_piece(struct mb_span input, size_t at, enum fuzz_split split) {
  size_t left = input.size - at;
  if (left == 0 || split == FUZZ_WHOLE) return left;
  if (split == FUZZ_BYTES) return 1;
  /* The sizes come from the other end of the input: the fuzzer can change them and the text apart. */
  size_t size = 1 + (unsigned char)input.data[left - 1] % 37;
  return size < left ? size : left;
}

/* ---- transcripts ---- */

static void reserve(struct fuzz_text *text, size_t size) {
  if (text->capacity - text->size >= size) return;
  text->capacity = (text->size + size) * 2;
  text->data = realloc(text->data, text->capacity);
  if (!text->data) abort();
}

void fuzz_add(struct fuzz_text *text, struct mb_span span) {
  if (span.size == 0) return;
  reserve(text, span.size);
  memcpy(text->data + text->size, span.data, span.size);
  text->size += span.size;
}

void fuzz_addf(struct fuzz_text *text, const char *format, ...) {
  char buffer[256];
  va_list arguments;
  va_start(arguments, format);
  int size = vsnprintf(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  if (size < 0 || (size_t)size >= sizeof buffer) abort();
  fuzz_add(text, (struct mb_span){buffer, (size_t)size});
}

void fuzz_add_span(struct fuzz_text *text, const char *name, struct mb_span span) {
  if (!span.data) {
    fuzz_addf(text, "%s=none;", name);
    return;
  }
  fuzz_addf(text, "%s=%zu:", name, span.size);
  fuzz_add(text, span);
  fuzz_addf(text, ";");
}

struct mb_span fuzz_text_span(const struct fuzz_text *text) {
  return (struct mb_span){text->data, text->size};
}

void fuzz_equal(const char *file, int line, const char *what, struct fuzz_text *got,
                const struct fuzz_text *want) {
  if (!fuzz_same(fuzz_text_span(got), fuzz_text_span(want))) {
    show("got", fuzz_text_span(got));
    show("want", fuzz_text_span(want));
    fuzz_fail(file, line, "%s", what);
  }
  fuzz_text_free(got);
}

void fuzz_text_free(struct fuzz_text *text) {
  free(text->data);
  *text = FUZZ_TEXT_INIT;
}
