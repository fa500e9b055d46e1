/* Reads the head of a request, in one pass over its lines. Copies nothing, and guesses nothing. */
#include "http/http_head.h"

#include <string.h>

#include "http/http_target.h"

/* The sum of what the fields have said so far. */
struct reader {
  struct mb_http_head *head;
  struct mb_http_refusal *refusal;
  bool has_host, has_length, has_coding, has_type;
  bool chunked;
  bool close, keepalive; /* what Connection says */
};

static bool refuse(struct mb_http_refusal *refusal, int status, const char *why) {
  *refusal = (struct mb_http_refusal){status, why};
  return false;
}

/* Returns the reason to refuse a byte: one of its own, or `why`. */
static const char *bad_byte(char c, const char *why) {
  if (c == '\r') return "bare CR in the request head";
  if (c == '\0') return "NUL in the request head";
  return c == '\t' || mb_http_is(c, MB_HTTP_VALUE) ? why : "control character in the request head";
}

/* ---- where it ends ---- */

/*
 * While all lines were empty, *scanned is where the next line begins, behind an LF. Later it is the LF of
 * a line that is not empty, or the end of the bytes. The byte before it tells the two cases apart.
 */
size_t mb_http_head_end(const char *data, size_t size, size_t *scanned,
                        struct mb_http_refusal *ret_refusal) {
  static const char bare_cr[] = "bare CR in the request head";
  size_t at = *scanned;
  *ret_refusal = (struct mb_http_refusal){0};
  if (at == 0 || data[at - 1] == '\n') {
    while (at < size && (data[at] == '\n' || data[at] == '\r')) {
      size_t line = data[at] == '\r' ? 2 : 1;
      if (size - at < line) break;
      if (data[at + line - 1] != '\n') return refuse(ret_refusal, 400, bare_cr);
      at += line;
    }
    *scanned = at;
    if (at == size || data[at] == '\r') return 0;
    if (!mb_http_is(data[at], MB_HTTP_TOKEN)) {
      return refuse(ret_refusal, 400, "no method begins like this");
    }
  }
  while (at < size) {
    const char *lf = memchr(data + at, '\n', size - at);
    *scanned = lf ? (size_t)(lf - data) : size;
    if (!lf || *scanned + 1 == size) return 0;
    at = *scanned + 1;
    if (data[at] == '\n') return at + 1;
    if (data[at] != '\r') continue;
    if (at + 1 == size) return 0;
    if (data[at + 1] == '\n') return at + 2;
    return refuse(ret_refusal, 400, bare_cr);
  }
  return 0;
}

/* ---- lines ---- */

/* Takes a line from the front of *rest, without its line end. Returns whether there was one. */
static bool next_line(struct mb_span *rest, struct mb_span *ret_line) {
  const char *lf = rest->size > 0 ? memchr(rest->data, '\n', rest->size) : NULL;
  if (!lf) return false;
  size_t size = (size_t)(lf - rest->data);
  *ret_line = (struct mb_span){rest->data, size};
  if (size > 0 && lf[-1] == '\r') ret_line->size--;
  rest->data += size + 1;
  rest->size -= size + 1;
  return true;
}

/* Takes the bytes of a class from the front of *line. */
static struct mb_span take(struct mb_span *line, unsigned char class) {
  struct mb_span taken = {line->data, 0};
  while (taken.size < line->size && mb_http_is(taken.data[taken.size], class)) taken.size++;
  line->data += taken.size;
  line->size -= taken.size;
  return taken;
}

/* Takes the one space that separates the parts of a request line. */
static bool take_space(struct mb_span *line) {
  if (line->size == 0 || line->data[0] != ' ') return false;
  line->data++;
  line->size--;
  return true;
}

/* Reads "HTTP/D.D"; *ret_minor is 0 or 1. Returns 0, or the status to refuse with: 400 or 505. */
static int read_version(struct mb_span version, int *ret_minor) {
  if (version.size != 8 || memcmp(version.data, "HTTP/", 5) != 0 || version.data[6] != '.' ||
      !mb_http_is(version.data[5], MB_HTTP_DIGIT) || !mb_http_is(version.data[7], MB_HTTP_DIGIT)) {
    return 400;
  }
  if (version.data[5] != '1') return 505;
  *ret_minor = version.data[7] != '0'; /* a client of a higher minor version understands 1.1 */
  return 0;
}

static bool read_request_line(struct mb_span line, struct mb_http_head *head,
                              struct mb_http_refusal *refusal) {
  struct mb_span rest = line;
  head->method = take(&rest, MB_HTTP_TOKEN);
  if (rest.size == 0) return refuse(refusal, 400, "request line without a target");
  if (head->method.size == 0 || !take_space(&rest)) {
    return refuse(refusal, 400, bad_byte(rest.data[0], "bad character in the method"));
  }
  head->target = take(&rest, MB_HTTP_TARGET);
  if (rest.size == 0) {
    return refuse(
        refusal, 400,
        head->target.size > 0 ? "request line without a version" : "request line without a target");
  }
  if (head->target.size == 0 && rest.data[0] == ' ') {
    return refuse(refusal, 400, "more than one space in the request line");
  }
  if (!take_space(&rest)) {
    return refuse(refusal, 400, bad_byte(rest.data[0], "bad character in the request target"));
  }
  const struct mb_span version = rest;
  take(&rest, MB_HTTP_VALUE);
  if (rest.size > 0) return refuse(refusal, 400, bad_byte(rest.data[0], "bad HTTP version"));
  int status = read_version(version, &head->minor);
  if (status == 400) return refuse(refusal, 400, "bad HTTP version");
  if (status == 505) return refuse(refusal, 505, "neither HTTP/1.0 nor HTTP/1.1");
  if (head->method.size == 7 && memcmp(head->method.data, "CONNECT", 7) == 0) {
    return refuse(refusal, 501, "CONNECT is not supported");
  }
  const char *why = mb_http_target_split(head);
  return why ? refuse(refusal, 400, why) : true;
}

/* ---- fields that say how the request is to be read ---- */

/*
 * Takes an item, trimmed, from the front of a list. Unlike mb_http_list_next it does not pass over empty
 * items: readers disagree on what they mean, which matters for the framing only.
 * Returns whether there was one. The first call always finds one.
 */
static bool next_item(struct mb_span *list, struct mb_span *ret_item) {
  if (!list->data) return false;
  const char *comma = memchr(list->data, ',', list->size);
  size_t size = comma ? (size_t)(comma - list->data) : list->size;
  *ret_item = mb_http_trim((struct mb_span){list->data, size});
  *list = comma ? (struct mb_span){comma + 1, list->size - size - 1} : (struct mb_span){NULL, 0};
  return true;
}

static bool check_host(struct reader *r, struct mb_span value) {
  if (r->has_host) return refuse(r->refusal, 400, "more than one Host field");
  if (!mb_http_host_valid(value)) return refuse(r->refusal, 400, "bad Host field");
  r->has_host = true;
  if (!r->head->host.data) r->head->host = value;
  return true;
}

static bool check_length(struct reader *r, struct mb_span list) {
  if (r->has_coding) return refuse(r->refusal, 400, "Content-Length beside Transfer-Encoding");
  struct mb_span item;
  while (next_item(&list, &item)) {
    if (item.size == 0 || !mb_http_all(item, MB_HTTP_DIGIT)) {
      return refuse(r->refusal, 400, "Content-Length that is no number");
    }
    uint64_t length = 0;
    for (size_t i = 0; i < item.size; i++) {
      unsigned digit = (unsigned)(item.data[i] - '0');
      if (length > ((uint64_t)INT64_MAX - digit) / 10) {
        return refuse(r->refusal, 400, "Content-Length that is too large");
      }
      length = length * 10 + digit;
    }
    if (r->has_length && length != r->head->length) {
      return refuse(r->refusal, 400, "more than one Content-Length");
    }
    r->has_length = true;
    r->head->length = length;
  }
  return true;
}

static bool check_coding(struct reader *r, struct mb_span list) {
  if (r->head->minor == 0) return refuse(r->refusal, 400, "Transfer-Encoding in HTTP/1.0");
  if (r->has_length) return refuse(r->refusal, 400, "Content-Length beside Transfer-Encoding");
  r->has_coding = true;
  struct mb_span item;
  while (next_item(&list, &item)) {
    if (r->chunked) return refuse(r->refusal, 400, "Transfer-Encoding with more behind chunked");
    struct mb_span parameters = item, name = take(&parameters, MB_HTTP_TOKEN);
    if (name.size == 0) return refuse(r->refusal, 400, "bad Transfer-Encoding field");
    if (!mb_http_equals(name, "chunked")) {
      return refuse(r->refusal, 501, "Transfer-Encoding other than chunked");
    }
    if (parameters.size > 0) return refuse(r->refusal, 400, "bad Transfer-Encoding field");
    r->chunked = true;
  }
  return true;
}

static bool check_connection(struct reader *r, struct mb_span list) {
  struct mb_span option;
  while (mb_http_list_next(&list, &option)) {
    if (!mb_http_all(option, MB_HTTP_TOKEN)) {
      return refuse(r->refusal, 400, "bad Connection field");
    }
    r->close |= mb_http_equals(option, "close");
    r->keepalive |= mb_http_equals(option, "keep-alive");
  }
  return true;
}

static bool check_expect(struct reader *r, struct mb_span list) {
  if (r->head->minor == 0) return true;
  struct mb_span expectation;
  while (mb_http_list_next(&list, &expectation)) {
    if (!mb_http_equals(expectation, "100-continue")) {
      return refuse(r->refusal, 417, "Expect other than 100-continue");
    }
    r->head->expects = true;
  }
  return true;
}

/*
 * Two of them could be read in two ways: as a form by us, and as something else by who has checked the
 * request before us (RFC 9110, sections 5.3 and 8.3). Both may be the same: nobody sends that in good faith.
 * A proxy may have made one line of the two. A comma behind the type may stand in a parameter.
 */
static bool check_type(struct reader *r, struct mb_span value) {
  struct mb_span type = mb_http_take_until(&value, ';');
  bool is_list = type.size > 0 && memchr(type.data, ',', type.size);
  if (r->has_type || is_list) return refuse(r->refusal, 400, "more than one Content-Type field");
  r->has_type = true;
  return true;
}

/* The fields that we read ourselves; of any other, the script sees all lines. */
#define NAMED(name) name, sizeof(name) - 1
static const struct {
  const char *name;
  size_t size; /* of the name: most fields are told apart by it */
  bool (*check)(struct reader *r, struct mb_span value);
} checks[] = {
    {NAMED("host"), check_host},
    {NAMED("content-length"), check_length},
    {NAMED("transfer-encoding"), check_coding},
    {NAMED("connection"), check_connection},
    {NAMED("expect"), check_expect},
    {NAMED("content-type"), check_type},
};

/* ---- fields ---- */

static bool read_field(struct mb_span line, struct mb_http_field *field,
                       struct mb_http_refusal *refusal) {
  struct mb_span rest = line;
  field->name = take(&rest, MB_HTTP_TOKEN);
  if (rest.size == 0) return refuse(refusal, 400, "field line without a colon");
  if (rest.data[0] == ' ' || rest.data[0] == '\t') {
    return refuse(refusal, 400,
                  field->name.size > 0 ? "space in a field name" : "folded field line");
  }
  if (rest.data[0] != ':') {
    return refuse(refusal, 400, bad_byte(rest.data[0], "bad character in a field name"));
  }
  if (field->name.size == 0) return refuse(refusal, 400, "field line without a name");
  rest.data++;
  rest.size--;
  field->value = mb_http_trim(take(&rest, MB_HTTP_VALUE));
  if (rest.size > 0) return refuse(refusal, 400, bad_byte(rest.data[0], "bad field value"));
  return true;
}

static bool read_fields(struct mb_span rest, struct reader *r) {
  struct mb_http_head *head = r->head;
  struct mb_span line;
  for (;;) {
    if (!next_line(&rest, &line)) return refuse(r->refusal, 400, "incomplete request head");
    if (line.size == 0) return true;
    if (head->field_count == MB_HTTP_FIELDS_MAX) {
      return refuse(r->refusal, 431, "too many fields");
    }
    struct mb_http_field *field = &head->fields[head->field_count];
    if (!read_field(line, field, r->refusal)) return false;
    head->field_count++;
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
      if (field->name.size != checks[i].size) continue;
      if (!mb_http_equals(field->name, checks[i].name)) continue;
      if (!checks[i].check(r, field->value)) return false;
    }
  }
}

/* Concludes what follows from all fields together. */
static bool conclude(struct reader *r) {
  struct mb_http_head *head = r->head;
  if (head->minor > 0 && !r->has_host) return refuse(r->refusal, 400, "no Host field");
  if (r->chunked) head->framing = MB_HTTP_CHUNKED;
  if (r->has_length) head->framing = MB_HTTP_LENGTH;
  head->keepalive = !r->close && (head->minor > 0 || r->keepalive);
  /* Without content there is nothing to continue with. */
  if (!r->chunked && head->length == 0) head->expects = false;
  return true;
}

bool mb_http_head_parse(const char *data, size_t size, struct mb_http_head *ret,
                        struct mb_http_refusal *ret_refusal) {
  struct reader r = {.head = ret, .refusal = ret_refusal};
  struct mb_span rest = {data, size}, line;
  /* This leaves out the array of fields: it is large, and only its first field_count elements count. */
  ret->method = ret->target = ret->path = ret->query = ret->host = (struct mb_span){NULL, 0};
  ret->secure = false;
  ret->minor = 0;
  ret->framing = MB_HTTP_NO_BODY;
  ret->length = 0;
  ret->keepalive = ret->expects = false;
  ret->field_count = 0;
  do {
    if (!next_line(&rest, &line)) return refuse(ret_refusal, 400, "incomplete request head");
  } while (line.size == 0);
  return read_request_line(line, ret, ret_refusal) && read_fields(rest, &r) && conclude(&r);
}

const struct mb_http_field *mb_http_head_field(const struct mb_http_head *head, const char *name) {
  for (unsigned i = 0; i < head->field_count; i++) {
    if (mb_http_equals(head->fields[i].name, name)) return &head->fields[i];
  }
  return NULL;
}
