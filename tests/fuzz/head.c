/*
 * Fuzz harness for src/http/http_head.c. It reads heads, one after the other. A second reader has to agree
 * on each. The pieces in which the bytes come, and the kind of line end, must change nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "head_reference.h"
#include "http/http_upgrade.h"

/* ---- where a head ends ---- */

struct end {
  size_t size; /* 0: none */
  size_t seen; /* how many bytes the decision took; all of them when there was none */
  struct mb_http_refusal refusal;
};

static struct end find_end(struct mb_span input, enum fuzz_split split) {
  struct end end = {0};
  char *bytes = fuzz_hidden(input);
  size_t scanned = 0, piece;
  while ((piece = fuzz_piece(input, end.seen, split)) > 0) {
    fuzz_reveal(bytes, end.seen, piece);
    end.seen += piece;
    size_t before = scanned;
    end.size = mb_http_head_end(bytes, end.seen, &scanned, &end.refusal);
    CHECK(scanned >= before && scanned <= end.seen, "scanned %zu", scanned);
    CHECK(end.size <= end.seen, "a head of %zu", end.size);
    CHECK(end.size == 0 || end.refusal.status == 0, "a head, and refused");
    CHECK(end.refusal.status == 0 || end.refusal.why, "without a reason");
    if (end.size > 0 || end.refusal.status != 0) break;
  }
  fuzz_reveal(bytes, 0, input.size);
  free(bytes);
  return end;
}

static struct end find_end_checked(struct mb_span input) {
  struct end whole = find_end(input, FUZZ_WHOLE);
  for (enum fuzz_split split = FUZZ_BYTES; split < FUZZ_SPLITS; split++) {
    struct end end = find_end(input, split);
    CHECK(end.size == whole.size, "%zu and %zu, split %d", end.size, whole.size, (int)split);
    CHECK(end.refusal.status == whole.refusal.status, "split %d", (int)split);
    CHECK(end.refusal.why == whole.refusal.why, "split %d", (int)split);
    /* The end is seen as soon as it is there, as the client is waiting. */
    if (split == FUZZ_BYTES && end.size > 0) CHECK(end.seen == end.size, "after %zu", end.seen);
  }
  return whole;
}

/* Checks that a head has no empty line between its request line and its end. */
static void check_end(struct mb_span head) {
  struct mb_span rest = head, line;
  while (head_reference_line(&rest, &line) && line.size == 0) continue;
  CHECK(line.size > 0, "a head of empty lines");
  while (head_reference_line(&rest, &line) && line.size > 0) continue;
  CHECK(line.size == 0 && rest.size == 0, "%zu bytes behind the end", rest.size);
  CHECK(head.data[head.size - 1] == '\n', "a head without an end");
}

/*
 * Checks an input in which no head was found, and no bad beginning: it has no empty line behind a line
 * that is not empty, and it does not begin badly.
 */
static void check_no_end(struct mb_span input) {
  struct mb_span rest = input, line = {NULL, 0};
  bool begun = false;
  while (memchr(rest.data, '\n', rest.size) && head_reference_line(&rest, &line)) {
    CHECK(line.size > 0 || !begun, "the end of a head was overlooked");
    begun = begun || line.size > 0;
  }
  const char *first = input.data;
  while (first < input.data + input.size && strchr("\r\n", *first)) first++;
  if (first == input.data + input.size) return;
  CHECK(mb_http_is(*first, MB_HTTP_TOKEN), "nothing begins like this");
}

/* ---- what a head says ---- */

static void check_spans(const struct mb_http_head *head, struct mb_span in) {
  CHECK(fuzz_within(head->method, in), "method");
  CHECK(fuzz_within(head->target, in), "target");
  CHECK(fuzz_within(head->path, in), "path");
  CHECK(fuzz_within(head->query, in), "query");
  CHECK(fuzz_within(head->host, in), "host");
  CHECK(head->field_count <= MB_HTTP_FIELDS_MAX, "%u fields", head->field_count);
  for (unsigned i = 0; i < head->field_count; i++) {
    CHECK(fuzz_within(head->fields[i].name, in), "name of field %u", i);
    CHECK(fuzz_within(head->fields[i].value, in), "value of field %u", i);
  }
}

/* Describes all of a head except where its parts lie in memory. */
static void describe(const struct mb_http_head *head, struct fuzz_text *text) {
  fuzz_add_span(text, "method", head->method);
  fuzz_add_span(text, "target", head->target);
  fuzz_add_span(text, "path", head->path);
  fuzz_add_span(text, "query", head->query);
  fuzz_add_span(text, "host", head->host);
  fuzz_addf(text, "1.%d framing=%d length=%llu keepalive=%d expects=%d fields=%u;", head->minor,
            (int)head->framing, (unsigned long long)head->length, head->keepalive, head->expects,
            head->field_count);
  for (unsigned i = 0; i < head->field_count; i++) {
    fuzz_add_span(text, "name", head->fields[i].name);
    fuzz_add_span(text, "value", head->fields[i].value);
  }
}

/* Describes the head as the second reader has read it. */
static void describe_reference(struct mb_span bytes, const struct head_reference *r,
                               struct fuzz_text *text) {
  struct mb_http_head head = {.method = r->method,
                              .target = r->target,
                              .path = r->path,
                              .query = r->query,
                              .host = r->host,
                              .minor = r->minor,
                              .framing = r->framing,
                              .length = r->length,
                              .keepalive = r->keepalive,
                              .expects = r->expects};
  struct mb_span line;
  while (head_reference_line(&bytes, &line) && line.size == 0) continue;
  while (head_reference_line(&bytes, &line) && line.size > 0) {
    size_t name = (size_t)((const char *)memchr(line.data, ':', line.size) - line.data);
    struct mb_span value = {line.data + name + 1, line.size - name - 1};
    while (value.size > 0 && strchr(" \t", value.data[0])) value.data++, value.size--;
    while (value.size > 0 && strchr(" \t", value.data[value.size - 1])) value.size--;
    head.fields[head.field_count++] = (struct mb_http_field){{line.data, name}, value};
  }
  describe(&head, text);
}

/* Writes the head anew, as another client would, and reads it again. */
static void check_written_anew(const struct mb_http_head *head, const char *line_end,
                               const struct fuzz_text *want) {
  struct fuzz_text anew = FUZZ_TEXT_INIT, got = FUZZ_TEXT_INIT;
  fuzz_addf(&anew, "%s%s", line_end, line_end);
  fuzz_add(&anew, head->method);
  fuzz_addf(&anew, " ");
  fuzz_add(&anew, head->target);
  fuzz_addf(&anew, " HTTP/1.%d%s", head->minor, line_end);
  for (unsigned i = 0; i < head->field_count; i++) {
    fuzz_add(&anew, head->fields[i].name);
    fuzz_addf(&anew, ": \t");
    fuzz_add(&anew, head->fields[i].value);
    fuzz_addf(&anew, "\t %s", line_end);
  }
  fuzz_addf(&anew, "%s", line_end);
  struct mb_http_refusal refusal;
  static struct mb_http_head again;
  size_t scanned = 0;
  CHECK(mb_http_head_end(anew.data, anew.size, &scanned, &refusal) == anew.size, "written anew");
  CHECK(mb_http_head_parse(anew.data, anew.size, &again, &refusal), "written anew: %d %s",
        refusal.status, refusal.why);
  describe(&again, &got);
  CHECK_EQUAL("written anew", &got, want);
  fuzz_text_free(&anew);
}

static void check_field_lookup(const struct mb_http_head *head) {
  static const char *const names[] = {"host", "content-length", "cookie", "x"};
  for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
    const struct mb_http_field *field = mb_http_head_field(head, names[n]);
    unsigned i = 0;
    while (i < head->field_count && !mb_http_equals(head->fields[i].name, names[n])) i++;
    CHECK(field == (i < head->field_count ? &head->fields[i] : NULL), "%s", names[n]);
  }
}

/* Checks that the client has offered what it has sent in Upgrade, and that a 101 needs more than that. */
static void check_upgrade(const struct mb_http_head *head) {
  bool some = false;
  for (unsigned i = 0; i < head->field_count; i++) {
    struct mb_span value = head->fields[i].value, rest = value, protocol;
    if (!mb_http_equals(head->fields[i].name, "upgrade")) continue;
    bool has = mb_http_list_next(&rest, &protocol);
    CHECK(mb_http_upgrade_offered(head, value) == has, "field %u", i);
    some = some || has;
  }
  bool may = some && head->minor > 0 && mb_http_head_field(head, "connection");
  CHECK(may || mb_http_upgrade_wrong(head), "a 101 for nothing");
  CHECK(some || !mb_http_upgrade_offered(head, head->method), "a protocol of nobody");
}

static void check_accepted(const struct mb_http_head *head, struct mb_span bytes,
                           const struct head_reference *reference) {
  struct fuzz_text got = FUZZ_TEXT_INIT, want = FUZZ_TEXT_INIT, again = FUZZ_TEXT_INIT;
  check_spans(head, bytes);
  check_field_lookup(head);
  check_upgrade(head);
  describe_reference(bytes, reference, &want);
  describe(head, &got);
  CHECK_EQUAL("the second reader", &got, &want);
  check_written_anew(head, "\r\n", &want);
  check_written_anew(head, "\n", &want);
  fuzz_text_free(&again);
  fuzz_text_free(&want);
}

/* Checks what is read of a head. Returns whether it was accepted. */
static bool check_head(struct mb_span span) {
  static struct mb_http_head head;
  struct head_reference reference;
  struct mb_http_refusal refusal = {0};
  struct mb_span bytes = {fuzz_copy(span), span.size};
  memset(&head, 0xa5, sizeof head); /* nothing may be left of the last head */
  head_reference_read(bytes, &reference);
  bool accepted = mb_http_head_parse(bytes.data, bytes.size, &head, &refusal);
  if (accepted) {
    CHECK(reference.fault_count == 0, "accepted instead of %d", reference.faults[0]);
    check_accepted(&head, bytes, &reference);
  } else {
    CHECK(refusal.why, "without a reason");
    CHECK(head_reference_deserves(&reference, refusal.status) ||
              (reference.may_refuse && refusal.status == 400),
          "%d %s", refusal.status, refusal.why);
  }
  free((void *)(uintptr_t)bytes.data);
  return accepted;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct mb_span input = fuzz_input(data, size), rest = input;
  while (rest.size > 0) {
    struct end end = find_end_checked(rest);
    if (end.size == 0) {
      if (end.refusal.status == 0) check_no_end(rest);
      break;
    }
    struct mb_span head = {rest.data, end.size};
    check_end(head);
    if (!check_head(head)) break;
    rest.data += end.size;
    rest.size -= end.size;
  }
  fuzz_input_free(input);
  return 0;
}
