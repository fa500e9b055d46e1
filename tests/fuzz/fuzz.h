/*
 * The functions that all fuzz harnesses use: checks that show the input when they fail, inputs that stand
 * for longer ones, pieces of an input, and transcripts, to compare what the code makes of them.
 */
#ifndef MB_FUZZ_H
#define MB_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/http_head.h"

/* An input grows to so many bytes at most. That is above every limit of the scanners, and still quick. */
#define FUZZ_INPUT_MAX 40000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- checks ---- */

/* Prints the text and the expanded input, and ends the process. */
_Noreturn void fuzz_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* CHECK(condition, format, ...): a property of the code under test. */
#define CHECK(condition, ...) \
  ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition ": " __VA_ARGS__))

/* Shows the bytes where $FUZZ_SHOW is set, to somebody who looks into a finding. */
void fuzz_show(const char *title, struct mb_span span);

/* ---- the input ---- */

/*
 * Expands the fuzzer's bytes to the input of the code under test, in memory of exactly its size. "\xff" N
 * L, followed by L bytes, stands for N times those L bytes, so that a short input reaches limits of many
 * KiB. fuzz_input_free frees it.
 */
struct mb_span fuzz_input(const uint8_t *data, size_t size);
void fuzz_input_free(struct mb_span input);

/* Takes the first line off the input, without its LF. */
struct mb_span fuzz_take_line(struct mb_span *input);

/* Makes a copy in memory of exactly its size, so that AddressSanitizer sees every read behind it. */
char *fuzz_copy(struct mb_span span);

/*
 * fuzz_hidden makes a copy whose bytes nobody may read; fuzz_reveal allows `more` bytes to be read behind
 * the first `shown` ones. All have to be revealed before the copy is freed.
 */
char *fuzz_hidden(struct mb_span span);
void fuzz_reveal(const char *bytes, size_t shown, size_t more);

bool fuzz_same(struct mb_span a, struct mb_span b);

/* Returns whether a span lies within another. An empty span may lie anywhere, also at NULL. */
bool fuzz_within(struct mb_span part, struct mb_span whole);

/* ---- pieces ---- */

/* Ways to feed an input. With FUZZ_BY_INPUT bytes of the input are the sizes of the pieces. */
enum fuzz_split { FUZZ_WHOLE, FUZZ_BYTES, FUZZ_BY_INPUT, FUZZ_SPLITS };

/* Returns the size of the piece that begins at offset `at`; 0 at the end. */
size_t fuzz_piece(struct mb_span input, size_t at, enum fuzz_split split);

/* ---- transcripts ---- */

struct fuzz_text {
  char *data;
  size_t size, capacity;
};

#define FUZZ_TEXT_INIT ((struct fuzz_text){NULL, 0, 0})

void fuzz_add(struct fuzz_text *text, struct mb_span span);
void fuzz_addf(struct fuzz_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Adds "name=<size>:<bytes>;", or "name=none;" where data is NULL. */
void fuzz_add_span(struct fuzz_text *text, const char *name, struct mb_span span);

struct mb_span fuzz_text_span(const struct fuzz_text *text);

/* Fails and shows both texts when they differ. Frees got, which is made anew for every comparison. */
void fuzz_equal(const char *file, int line, const char *what, struct fuzz_text *got,
                const struct fuzz_text *want);

#define CHECK_EQUAL(what, got, want) fuzz_equal(__FILE__, __LINE__, what, got, want)

void fuzz_text_free(struct fuzz_text *text);

#endif
