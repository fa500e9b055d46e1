/*
 * Fuzz harness for what a client says about a file: its path (src/http/http_file_path.c), Range (http_range.c),
 * conditions and dates (http_condition.c, http_date.c), Accept-Encoding (http_coding.c).
 */
#include <stdlib.h>
#include <string.h>

#include "http/http_coding.h"
#include "http/http_condition.h"
#include "http/http_date.h"
#include "http/http_file_path.h"
#include "http/http_media.h"
#include "http/http_range.h"
#include "fuzz.h"

#define NOW 1800000000

/* Checks that no segment of a path leads elsewhere. */
static void is_below(const char *path) {
  if (strcmp(path, ".") == 0) return;
  for (const char *at = path;; at++) {
    size_t size = strcspn(at, "/");
    CHECK(size > 0, "an empty segment in %s", path);
    CHECK(!(at[0] == '.' && (size == 1 || (size == 2 && at[1] == '.'))), "dots in %s", path);
    at += size;
    if (!*at) return;
  }
}

static void paths(struct mb_span path, bool decoded) {
  struct mb_http_file_path found = {0};
  char *to = malloc(path.size + 2);
  CHECK(to, "memory");
  int status = mb_http_file_path(to, path, decoded, &found);
  CHECK(status == 0 || status == 400 || status == 404, "status %d", status);
  if (status == 0) {
    CHECK(found.size <= path.size + 1 && to[found.size] == '\0', "size %zu", found.size);
    CHECK(strlen(to) == found.size, "a NUL in the path");
    is_below(to);
    bool ends = path.size == 0 || path.data[path.size - 1] == '/';
    CHECK(found.is_directory == ends, "is_directory of %s", to);
  }
  free(to);
}

static void ranges(struct mb_span value) {
  static const uint64_t sizes[] = {0, 1, 10, 1000, 1ULL << 40, INT64_MAX, UINT64_MAX};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    struct mb_http_range found[MB_HTTP_RANGES_MAX];
    int count = mb_http_ranges_read(value, sizes[i], found);
    CHECK(count >= MB_HTTP_RANGES_WRONG && count <= MB_HTTP_RANGES_MAX, "%d ranges", count);
    uint64_t left = sizes[i];
    for (int k = 0; k < count; k++) {
      CHECK(found[k].first <= found[k].last && found[k].last < sizes[i], "range %d", k);
      CHECK(found[k].last - found[k].first < left, "more than the file");
      left -= found[k].last - found[k].first + 1;
    }
  }
}

static void dates(struct mb_span text) {
  char again[MB_HTTP_DATE_SIZE];
  int64_t when = -12345, back;
  if (!mb_http_date_parse(text, NOW, &when)) {
    CHECK(when == -12345, "a date that is none");
    return;
  }
  CHECK(when >= -62135596800 && when <= MB_HTTP_DATE_LAST + 1, "%lld", (long long)when);
  if (when < 0 || when > MB_HTTP_DATE_LAST) return;
  mb_http_date_text(again, when);
  struct mb_span whole = {again, sizeof again - 1};
  CHECK(strlen(again) == whole.size, "its length");
  CHECK(mb_http_date_parse(whole, NOW, &back) && back == when, "%s", again);
}

/* A head that has one field, and a line of it with our own value before, if there is one. */
static struct mb_http_head head_of(const char *name, const char *first, struct mb_span value) {
  struct mb_http_head head = {.field_count = 0};
  struct mb_span named = {name, strlen(name)};
  if (first)
    head.fields[head.field_count++] = (struct mb_http_field){named, {first, strlen(first)}};
  head.fields[head.field_count++] = (struct mb_http_field){named, mb_http_trim(value)};
  return head;
}

static void conditions(struct mb_span value) {
  static const char *const names[] = {"If-Match", "If-None-Match", "If-Modified-Since",
                                      "If-Unmodified-Since", "If-Range"};
  struct mb_http_validators v = {{"\"a-1\"", 5}, false, 784111777};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    for (int weak = 0; weak < 2; weak++) {
      struct mb_http_head head = head_of(names[i], NULL, value);
      v.is_weak = weak;
      int status = (int)mb_http_conditions(&head, &v, NOW);
      CHECK(status == 200 || status == 304 || status == 412, "status %d", status);
      if (i == 4) CHECK(!(weak && mb_http_range_counts(&head, &v, NOW)), "a weak one counts");
    }
  }
  v.is_weak = false;
  struct mb_http_head match = head_of("If-Match", "W/\"x\", \"a-1\"", value);
  CHECK(mb_http_conditions(&match, &v, NOW) == MB_HTTP_CONDITION_HOLDS, "If-Match");
  struct mb_http_head none = head_of("If-None-Match", "W/\"a-1\"", value);
  CHECK(mb_http_conditions(&none, &v, NOW) == MB_HTTP_NOT_MODIFIED, "If-None-Match");
  struct mb_http_head twice = head_of("If-Range", "\"a-1\"", value);
  CHECK(!mb_http_range_counts(&twice, &v, NOW), "two lines of If-Range");
}

static void codings(struct mb_span value) {
  struct mb_http_head head = head_of("Accept-Encoding", NULL, value);
  CHECK(mb_http_coding_weight(&head, "gzip") <= 1000, "the weight");
  struct mb_http_head known = head_of("Accept-Encoding", "gzip;q=0.25", value);
  CHECK(mb_http_coding_weight(&known, "gzip") == 250, "the first one counts");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct mb_span input = fuzz_input(data, size);
  paths(input, false);
  paths(input, true);
  ranges(input);
  dates(input);
  conditions(input);
  codings(input);
  (void)mb_http_media_type(input);
  fuzz_input_free(input);
  return 0;
}
