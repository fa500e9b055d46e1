/*
 * Fuzz harness for src/http/http_multipart.c. The first line of the input is a Content-Type value, the
 * rest is a body. A second reader has to agree, however the bytes come in pieces. Parts that are written
 * as browsers write them come back.
 */
#include <stdlib.h>
#include <string.h>

#include "http/http_multipart.h"
#include "fuzz.h"
#include "multipart_reference.h"

/* ---- the code under test ---- */

/* A reader, and the events that it has reported, with adjacent data put together. */
struct reader {
  struct mb_multipart m;
  struct fuzz_text events, data;
  bool in_part, closed, refused;
};

static void end_data(struct reader *r) {
  if (r->data.size > 0) fuzz_add_span(&r->events, "data", fuzz_text_span(&r->data));
  fuzz_text_free(&r->data);
}

static void note_part(struct reader *r) {
  const struct mb_multipart *m = &r->m;
  struct mb_span head = {m->head, sizeof m->head};
  CHECK(!r->in_part && !r->closed, "a part within");
  CHECK(m->name.data, "a part without a name");
  CHECK(fuzz_within(m->name, head), "name");
  CHECK(fuzz_within(m->file_name, head), "file name");
  CHECK(fuzz_within(m->content_type, head), "content type");
  r->in_part = true;
  fuzz_addf(&r->events, "part;");
  fuzz_add_span(&r->events, "name", m->name);
  fuzz_add_span(&r->events, "file", m->file_name);
  fuzz_add_span(&r->events, "type", m->content_type);
}

static void note_data(struct reader *r, struct mb_span piece) {
  struct mb_span delimiter = {r->m.delimiter, sizeof r->m.delimiter};
  CHECK(r->in_part && !r->closed, "data without a part");
  CHECK(r->m.data.size > 0, "no data");
  CHECK(fuzz_within(r->m.data, piece) || fuzz_within(r->m.data, delimiter), "data");
  fuzz_add(&r->data, r->m.data);
}

static void note_refusal(struct reader *r) {
  struct mb_http_refusal refusal = r->m.refusal;
  CHECK(refusal.status == 400 || refusal.status == 413, "%d", refusal.status);
  CHECK(refusal.why, "without a reason");
  CHECK(!mb_multipart_is_closed(&r->m), "refused and closed");
  fuzz_addf(&r->events, "refused;");
  r->refused = true;
}

static void note(struct reader *r, enum mb_multipart_event event, struct mb_span piece) {
  if (event == MB_MULTIPART_DATA) {
    note_data(r, piece);
    return;
  }
  if (event != MB_MULTIPART_MORE) end_data(r);
  switch (event) {
    case MB_MULTIPART_PART:
      note_part(r);
      break;
    case MB_MULTIPART_END:
      CHECK(r->in_part, "the end of no part");
      r->in_part = false;
      fuzz_addf(&r->events, "end;");
      break;
    case MB_MULTIPART_CLOSED:
      CHECK(!r->in_part && !r->closed, "closed within");
      CHECK(mb_multipart_is_closed(&r->m), "not closed");
      r->closed = true;
      fuzz_addf(&r->events, "closed;");
      break;
    case MB_MULTIPART_REFUSED:
      note_refusal(r);
      break;
    default:
      break;
  }
}

static void feed_piece(struct reader *r, struct mb_span piece) {
  struct mb_span rest = piece;
  enum mb_multipart_event event;
  do {
    size_t before = rest.size;
    event = mb_multipart_next(&r->m, &rest);
    CHECK(rest.size <= before && rest.data + rest.size == piece.data + piece.size, "%zu left",
          rest.size);
    note(r, event, piece);
  } while (event != MB_MULTIPART_MORE && event != MB_MULTIPART_REFUSED);
  if (event == MB_MULTIPART_MORE) CHECK(rest.size == 0, "%zu left", rest.size);
}

static void feed(struct reader *r, struct mb_span boundary, struct mb_span body,
                 enum fuzz_split split) {
  size_t size;
  memset(r, 0, sizeof *r);
  memset(&r->m, 0xa5, sizeof r->m); /* mb_multipart_init has to set all that matters */
  mb_multipart_init(&r->m, boundary);
  for (size_t at = 0; (size = fuzz_piece(body, at, split)) > 0 && !r->refused; at += size) {
    char *piece = fuzz_copy((struct mb_span){body.data + at, size});
    feed_piece(r, (struct mb_span){piece, size});
    free(piece);
  }
  end_data(r);
  struct mb_http_refusal refusal = r->m.refusal;
  struct mb_span nothing = {"", 0};
  enum mb_multipart_event last = mb_multipart_next(&r->m, &nothing);
  CHECK(last == (r->refused ? MB_MULTIPART_REFUSED : MB_MULTIPART_MORE), "%d at the end",
        (int)last);
  CHECK(!r->refused || r->m.refusal.why == refusal.why, "another reason");
}

/* ---- a body ---- */

static void check_body(struct mb_span boundary, struct mb_span body) {
  static struct reader whole, parts;
  struct multipart_reference reference;
  multipart_reference_read(boundary, body, &reference);
  feed(&whole, boundary, body, FUZZ_WHOLE);
  if (whole.refused) {
    CHECK(whole.m.refusal.status == 413 ? reference.too_large : reference.malformed, "%d %s",
          whole.m.refusal.status, whole.m.refusal.why);
  }
  for (enum fuzz_split split = FUZZ_BYTES; split < FUZZ_SPLITS; split++) {
    feed(&parts, boundary, body, split);
    CHECK_EQUAL("split", &parts.events, &whole.events);
    CHECK(parts.m.refusal.why == whole.m.refusal.why, "split %d", (int)split);
    CHECK(mb_multipart_is_closed(&parts.m) == mb_multipart_is_closed(&whole.m), "split %d",
          (int)split);
  }
  CHECK(mb_multipart_is_closed(&whole.m) == reference.closed, "the second reader");
  CHECK_EQUAL("the second reader", &whole.events, &reference.events);
  fuzz_text_free(&reference.events);
}

/* ---- bodies that we write ---- */

/* Ways to put a value between quotes. */
enum quoting { AS_BROWSERS, BY_BACKSLASH };

/* Writes a value between quotes. Replaces characters that cannot be written by "_", also in value. */
static void write_quoted(struct fuzz_text *to, char *value, size_t size, enum quoting quoting) {
  for (size_t i = 0; i < size; i++) {
    unsigned char c = (unsigned char)value[i];
    bool line_end = c == '\r' || c == '\n', control = c < ' ' || c == 0x7f;
    if ((control && !line_end && c != '\t') || c == '%') value[i] = '_';
    if (c == '\\' && quoting == AS_BROWSERS) value[i] = '/';
    if (line_end || (c == '"' && quoting == AS_BROWSERS)) {
      fuzz_addf(to, i % 2 ? "%%%02X" : "%%%02x", c);
    } else {
      if (value[i] == '"' || value[i] == '\\') fuzz_add(to, (struct mb_span){"\\", 1});
      fuzz_add(to, (struct mb_span){&value[i], 1});
    }
  }
}

/* Writes a part with a name, a file name and content, and adds the events that have to come of it. */
static void write_part(struct mb_span name, struct mb_span content, enum quoting quoting,
                       struct fuzz_text *body, struct fuzz_text *events) {
  char *value = fuzz_copy(name);
  fuzz_addf(body, "Content-Type: a/b\r\ncontent-disposition:form-data; filename=\"f\"; name=\"");
  write_quoted(body, value, name.size, quoting);
  fuzz_addf(body, "\"\r\n\r\n");
  fuzz_add(body, content);
  fuzz_addf(events, "part;");
  fuzz_add_span(events, "name", (struct mb_span){value, name.size});
  fuzz_addf(events, "file=1:f;type=3:a/b;");
  if (content.size > 0) fuzz_add_span(events, "data", content);
  fuzz_addf(events, "end;");
  free(value);
}

static void write_and_read(struct mb_span input, enum quoting quoting) {
  static const struct mb_span boundary = {"----WebKit=Boundary", 19};
  static struct reader r;
  if (memmem(input.data, input.size, boundary.data, boundary.size)) return;
  struct fuzz_text body = FUZZ_TEXT_INIT, events = FUZZ_TEXT_INIT;
  size_t at = 0, size;
  fuzz_addf(&body, "preamble\r\n--%.*s", (int)boundary.size, boundary.data);
  while ((size = fuzz_piece(input, at, FUZZ_BY_INPUT)) > 0) {
    struct mb_span name = {input.data + at, size};
    at += size;
    struct mb_span content = {input.data + at, fuzz_piece(input, at, FUZZ_BY_INPUT)};
    at += content.size;
    fuzz_addf(&body, "\r\n");
    write_part(name, content, quoting, &body, &events);
    fuzz_addf(&body, "\r\n--%.*s", (int)boundary.size, boundary.data);
  }
  fuzz_addf(&body, "--\r\nepilogue");
  fuzz_addf(&events, "closed;");
  for (enum fuzz_split split = FUZZ_WHOLE; split < FUZZ_SPLITS; split++) {
    feed(&r, boundary, fuzz_text_span(&body), split);
    CHECK_EQUAL("what was written", &r.events, &events);
  }
  fuzz_text_free(&body);
  fuzz_text_free(&events);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct mb_span input = fuzz_input(data, size), body = input;
  struct mb_span content_type = fuzz_take_line(&body);
  char want[MB_MULTIPART_BOUNDARY_MAX];
  /* The buffer has exactly the size that the function asks for. */
  char *boundary = malloc(MB_MULTIPART_BOUNDARY_MAX), *value = fuzz_copy(content_type);
  if (!boundary) abort();
  int found = mb_multipart_boundary((struct mb_span){value, content_type.size}, boundary);
  int expected = multipart_reference_boundary(content_type, want);
  CHECK(found == expected, "%d, expected %d", found, expected);
  free(value);
  if (found > 0) {
    struct mb_span name = {boundary, (size_t)found};
    CHECK(fuzz_same(name, (struct mb_span){want, (size_t)found}), "another boundary");
    check_body(name, body);
  }
  free(boundary);
  if (body.size <= 4096) write_and_read(body, size % 2 ? AS_BROWSERS : BY_BACKSLASH);
  fuzz_input_free(input);
  return 0;
}
