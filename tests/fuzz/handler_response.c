/* See handler_response.h. */
#include "handler_response.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DIGITS "0123456789"
#define TOKEN  "!#$%&'*+-.^_`|~" DIGITS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

struct fields {
  unsigned dates, lengths, codings, closes, keepalives;
  uint64_t length;
};

static bool only(struct mb_span span, const char *set) {
  for (size_t i = 0; i < span.size; i++) {
    if (!span.data[i] || !strchr(set, span.data[i])) return false;
  }
  return true;
}

static bool is(struct mb_span span, const char *word) {
  return span.size == strlen(word) && strncasecmp(span.data, word, span.size) == 0;
}

/* Reads a line, which must end with CR LF and have no other control character. Returns false at a cut. */
static bool read_line(struct mb_span *output, struct mb_span *ret) {
  if (!memchr(output->data, '\n', output->size)) return false;
  *ret = fuzz_take_line(output);
  CHECK(ret->size > 0 && ret->data[ret->size - 1] == '\r', "a line with a bare LF");
  ret->size--;
  for (size_t i = 0; i < ret->size; i++) {
    unsigned char c = (unsigned char)ret->data[i];
    CHECK((c >= ' ' && c != 0x7f) || c == '\t', "control character %u in a response head", c);
  }
  return true;
}

/* Returns whether it looks like "Sun, 06 Nov 1994 08:49:37 GMT". */
static bool is_date(struct mb_span value) {
  static const char pattern[] = "Aaa, 00 Aaa 0000 00:00:00 GMT";
  if (value.size != sizeof pattern - 1) return false;
  for (size_t i = 0; i < value.size; i++) {
    char p = pattern[i], c = value.data[i];
    bool good = p == '0'             ? c >= '0' && c <= '9'
                : p == 'A' && i < 12 ? c >= 'A' && c <= 'Z'
                : p == 'a'           ? c >= 'a' && c <= 'z'
                                     : p == c;
    if (!good) return false;
  }
  return true;
}

/* Takes the next element off a comma-separated list. */
static struct mb_span next_element(struct mb_span *list) {
  const char *comma = memchr(list->data, ',', list->size);
  struct mb_span element = {list->data, comma ? (size_t)(comma - list->data) : list->size};
  size_t taken = element.size + (comma ? 1 : 0);
  list->data += taken;
  list->size -= taken;
  while (element.size > 0 && strchr(" \t", element.data[0])) element.data++, element.size--;
  while (element.size > 0 && strchr(" \t", element.data[element.size - 1])) element.size--;
  return element;
}

static void read_connection(struct mb_span list, struct fields *fields) {
  bool closes = false, keeps_alive = false;
  while (list.size > 0) {
    struct mb_span option = next_element(&list);
    closes |= is(option, "close");
    keeps_alive |= is(option, "keep-alive");
  }
  fields->closes += closes;
  fields->keepalives += keeps_alive;
}

static void read_field(struct mb_span line, const struct response_rules *rules, struct response *r,
                       struct fields *fields) {
  const char *colon = memchr(line.data, ':', line.size);
  CHECK(colon && colon > line.data, "a field line without a name");
  struct mb_span name = {line.data, (size_t)(colon - line.data)};
  struct mb_span value = {colon + 1, line.size - name.size - 1};
  while (value.size > 0 && strchr(" \t", value.data[0])) value.data++, value.size--;
  CHECK(only(name, TOKEN), "a field name that is no token");
  if (rules->dates && is(name, "date")) {
    fields->dates++;
    CHECK(is_date(value), "a malformed date");
    return;
  }
  /* Whether a body that nobody reads is known to be wrong in time depends on how fast it comes. */
  bool close = is(name, "connection") && is(value, "close");
  if (!close) {
    fuzz_add(&r->said, line);
    fuzz_addf(&r->said, "\n");
  }
  if (is(name, "content-length")) {
    fields->lengths++;
    CHECK(value.size > 0 && value.size < 19 && only(value, DIGITS), "a bad Content-Length");
    for (size_t i = 0; i < value.size; i++) {
      fields->length = fields->length * 10 + (uint64_t)(value.data[i] - '0');
    }
  } else if (is(name, "transfer-encoding")) {
    fields->codings++;
    CHECK(is(value, "chunked"), "a coding that nobody has asked for");
  } else if (is(name, "connection")) {
    read_connection(value, fields);
  } else if (is(name, "content-type")) {
    r->is_text = value.size >= 10 && strncmp(value.data, "text/plain", 10) == 0;
  }
}

static bool read_head(struct mb_span *output, const struct asked *asked,
                      const struct response_rules *rules, struct response *r,
                      struct fields *fields) {
  struct mb_span line;
  const char *version = rules->echoes_version && asked->minor == 0 ? "HTTP/1.0 " : "HTTP/1.1 ";
  if (!read_line(output, &line)) return false;
  CHECK(line.size >= 13 && memcmp(line.data, version, 9) == 0, "no status line");
  CHECK(only((struct mb_span){line.data + 9, 3}, DIGITS) && line.data[12] == ' ', "no status");
  r->status = atoi(line.data + 9);
  CHECK(r->status >= 100 && r->status < (rules->any_status ? 1000 : 600), "status %d", r->status);
  fuzz_add(&r->said, line);
  fuzz_addf(&r->said, "\n");
  while (read_line(output, &line)) {
    if (line.size == 0) return true;
    read_field(line, rules, r, fields);
  }
  return false;
}

/* Reads the trailer section behind the last chunk. It cannot change how the response is framed. */
static bool read_trailers(struct mb_span *output, const struct response_rules *rules,
                          struct response *r) {
  struct mb_span line;
  struct fields fields = {0};
  while (read_line(output, &line)) {
    if (line.size == 0) return true;
    CHECK(rules->trailers, "a trailer section, or more content than the chunks'");
    read_field(line, rules, r, &fields);
    CHECK(fields.lengths + fields.codings + fields.closes + fields.keepalives == 0, "framing");
  }
  return false;
}

static bool read_chunked(struct mb_span *output, const struct response_rules *rules,
                         struct response *r) {
  struct mb_span line;
  while (read_line(output, &line)) {
    CHECK(line.size > 0 && line.size < 8 && only(line, DIGITS "abcdefABCDEF"), "a bad chunk size");
    char size_text[8] = "";
    memcpy(size_text, line.data, line.size);
    size_t size = strtoul(size_text, NULL, 16);
    if (size == 0) return read_trailers(output, rules, r);
    struct mb_span content = {output->data, size};
    if (output->size < size + 2) return false;
    output->data += size;
    output->size -= size;
    CHECK(memcmp(output->data, "\r\n", 2) == 0, "a chunk that is longer than its size");
    output->data += 2;
    output->size -= 2;
    r->content += size;
    fuzz_add(&r->said, content);
  }
  return false;
}

/* Returns whether the method is HEAD. The case of a method matters: "HeAD" is another one. */
static bool is_head(const struct asked *asked) {
  return asked->method.size == 4 && memcmp(asked->method.data, "HEAD", 4) == 0;
}

static bool has_no_content(const struct asked *asked, int status) {
  return is_head(asked) || status < 200 || status == 204 || status == 304;
}

static void check_fields(const struct asked *asked, const struct response_rules *rules,
                         const struct response *r, const struct fields *fields) {
  bool interim = r->status < 200 && r->status != 101;
  CHECK(fields->lengths + fields->codings <= 1, "framed twice");
  CHECK(fields->closes + fields->keepalives <= 1, "Connection more than once");
  if (interim) {
    CHECK(asked->minor > 0, "an interim response to HTTP/1.0");
    CHECK(fields->closes == 0, "an interim response that closes");
  } else if (rules->dates) {
    CHECK(fields->dates == 1, "%u dates", fields->dates);
  }
  if (r->status < 200 || r->status == 204) CHECK(fields->lengths == 0, "a length of nothing");
  if (has_no_content(asked, r->status) && !is_head(asked)) {
    CHECK(fields->codings == 0, "nothing, in chunks");
  }
  if (r->status == 205 && !rules->any_status) {
    CHECK(fields->codings == 0 && fields->length == 0, "205 with content");
  }
  if (asked->method.size > 0 && asked->minor == 0) {
    CHECK(fields->codings == 0, "chunks to HTTP/1.0");
    if (!interim && r->status != 101) {
      CHECK(fields->closes + fields->keepalives == 1, "does HTTP/1.0 go on?");
      CHECK(!rules->echoes_version || fields->closes == 1, "HTTP/1.0 goes on");
    }
  }
}

/* Reads the content. Returns false when it was cut off. */
static bool read_content(struct mb_span *output, const struct asked *asked,
                         const struct response_rules *rules, const struct fields *fields,
                         struct response *r) {
  if (has_no_content(asked, r->status)) return true;
  if (fields->codings > 0) return read_chunked(output, rules, r);
  CHECK(fields->lengths > 0 || r->close, "content without an end");
  /* The request that was refused may have been a HEAD. */
  if (asked->method.size == 0 && output->size == 0) return true;
  r->content = output->size;
  if (fields->lengths > 0) {
    if (output->size < fields->length) return false;
    r->content = (size_t)fields->length;
  }
  fuzz_add(&r->said, (struct mb_span){output->data, r->content});
  output->data += r->content;
  output->size -= r->content;
  return true;
}

bool response_read(struct mb_span *output, const struct asked *asked, bool cut,
                   const struct response_rules *rules, struct response *ret) {
  struct fields fields = {0};
  *ret = (struct response){.said = FUZZ_TEXT_INIT};
  bool whole = read_head(output, asked, rules, ret, &fields);
  if (whole) {
    check_fields(asked, rules, ret, &fields);
    ret->close = fields.closes > 0;
    ret->has_length = fields.lengths > 0;
    ret->until_close = fields.lengths + fields.codings == 0 && !has_no_content(asked, ret->status);
    whole = read_content(output, asked, rules, &fields, ret);
    /* The content ends with the connection, so only a reset shows that it was cut off. */
    if (cut && ret->until_close) whole = false;
  }
  if (whole) return true;
  CHECK(cut, "half a response");
  fuzz_text_free(&ret->said);
  output->size = 0;
  return false;
}
