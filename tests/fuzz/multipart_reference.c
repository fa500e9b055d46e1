/* See multipart_reference.h. Shares no code with src/. Searches for delimiters like for any text. */
#include "multipart_reference.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http/http_multipart.h"

#define ALNUM "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define TOKEN ALNUM "!#$%&'*+-.^_`|~"
#define HEX   "0123456789abcdefABCDEF"
#define BLANK " \t"

/* The scanner has the same limit: nobody sends more. */
#define PADDING_MAX 256

/* A text that is read from the front: each function below takes off what it has read. */
typedef struct mb_span text;

static bool in(char c, const char *set) { return c && strchr(set, c); }

static text take(text *from, size_t size) {
  text taken = {from->data, size};
  from->data += size;
  from->size -= size;
  return taken;
}

static text take_run(text *from, const char *set) {
  size_t size = 0;
  while (size < from->size && in(from->data[size], set)) size++;
  return take(from, size);
}

static text take_up_to(text *from, const char *set) {
  size_t size = 0;
  while (size < from->size && !in(from->data[size], set)) size++;
  return take(from, size);
}

static bool starts(text span, const char *with) {
  return span.size >= strlen(with) && memcmp(span.data, with, strlen(with)) == 0;
}

static bool is(text span, const char *word) {
  return span.size == strlen(word) && strncasecmp(span.data, word, span.size) == 0;
}

static bool only(text span, const char *set) {
  take_run(&span, set);
  return span.size == 0;
}

static text trimmed(text span) {
  take_run(&span, BLANK);
  while (span.size > 0 && in(span.data[span.size - 1], BLANK)) span.size--;
  return span;
}

/* ---- values with parameters ---- */

#define PARAMETERS_MAX (FUZZ_INPUT_MAX / 4)

struct parameter {
  text name, value;
  bool quoted;
};

struct value {
  text type;
  struct parameter parameters[PARAMETERS_MAX];
  size_t count;
  bool escapes; /* a backslash escapes a quote or itself */
};

static bool read_parameter(text *rest, bool escapes, struct parameter *ret) {
  ret->name = trimmed(take_up_to(rest, "="));
  if (ret->name.size == 0 || !only(ret->name, TOKEN) || rest->size == 0) return false;
  take(rest, 1);
  take_run(rest, BLANK);
  ret->quoted = starts(*rest, "\"");
  if (!ret->quoted) {
    ret->value = take_up_to(rest, BLANK ";");
    text value = ret->value;
    return value.size > 0 && take_up_to(&value, "\"").size == ret->value.size;
  }
  take(rest, 1);
  text whole = *rest;
  for (;;) {
    take_up_to(rest, "\"\\");
    if (rest->size == 0) return false;
    if (rest->data[0] == '"') break;
    bool pair = starts(*rest, "\\\"") || starts(*rest, "\\\\");
    take(rest, escapes && pair ? 2 : 1);
  }
  ret->value = (text){whole.data, whole.size - rest->size};
  take(rest, 1);
  return true;
}

/* Returns whether the value is well-formed. *ret has the parameters before a mistake in any case. */
static bool read_value(text span, bool escapes, struct value *ret) {
  ret->escapes = escapes;
  ret->count = 0;
  ret->type = trimmed(take_up_to(&span, ";"));
  for (;;) {
    take_run(&span, BLANK);
    if (span.size == 0) return true;
    if (!starts(span, ";")) return false;
    take_run(&span, BLANK ";");
    if (span.size == 0) return true;
    if (ret->count == PARAMETERS_MAX) abort();
    if (!read_parameter(&span, escapes, &ret->parameters[ret->count])) return false;
    ret->count++;
  }
}

/* Returns the parameter of a name, or NULL. *ret_twice says whether there is another one. */
static const struct parameter *find(const struct value *value, const char *name, bool *ret_twice) {
  const struct parameter *found = NULL;
  for (size_t i = 0; i < value->count; i++) {
    if (!is(value->parameters[i].name, name)) continue;
    if (found) *ret_twice = true;
    if (!found) found = &value->parameters[i];
  }
  return found;
}

int multipart_reference_boundary(text content_type, char *buffer) {
  static struct value value;
  bool twice = false, good = read_value(content_type, true, &value);
  if (!is(value.type, "multipart/form-data")) return 0;
  const struct parameter *boundary = find(&value, "boundary", &twice);
  if (!good || twice || !boundary) return -1;
  text from = boundary->value;
  char plain[FUZZ_INPUT_MAX];
  text name = {plain, 0};
  while (from.size > 0) {
    if (boundary->quoted && starts(from, "\\") && from.size > 1) take(&from, 1);
    plain[name.size++] = take(&from, 1).data[0];
  }
  if (name.size == 0 || name.size > 70 || !only(name, ALNUM "'()+_,-./:=? ") ||
      name.data[name.size - 1] == ' ') {
    return -1;
  }
  memcpy(buffer, name.data, name.size);
  return (int)name.size;
}

/* ---- Content-Disposition ---- */

static int escaped(text span) {
  if (span.size < 3 || !in(span.data[1], HEX) || !in(span.data[2], HEX)) return -1;
  char digits[3] = {span.data[1], span.data[2], '\0'};
  return (int)strtol(digits, NULL, 16);
}

static void unquote(text value, bool escapes, bool is_name, struct fuzz_text *to) {
  while (value.size > 0) {
    int code = value.data[0] == '%' ? escaped(value) : -1;
    char c = (char)code;
    if (code == '"' || (is_name && (code == '\r' || code == '\n'))) {
      take(&value, 3);
    } else {
      bool pair = starts(value, "\\\"") || starts(value, "\\\\");
      if (escapes && pair) take(&value, 1);
      c = take(&value, 1).data[0];
    }
    fuzz_add(to, (text){&c, 1});
  }
}

/* Returns whether a text is UTF-8 by the table of RFC 3629, section 4, and has no control character. */
static bool is_plain_utf8(text span) {
  /* first byte: from, to; second byte: from, to */
  static const unsigned char rows[][4] = {
      {0xc2, 0xc2, 0xa0, 0xbf}, {0xc3, 0xdf, 0x80, 0xbf}, {0xe0, 0xe0, 0xa0, 0xbf},
      {0xe1, 0xec, 0x80, 0xbf}, {0xed, 0xed, 0x80, 0x9f}, {0xee, 0xef, 0x80, 0xbf},
      {0xf0, 0xf0, 0x90, 0xbf}, {0xf1, 0xf3, 0x80, 0xbf}, {0xf4, 0xf4, 0x80, 0x8f}};
  while (span.size > 0) {
    unsigned char c[4] = {0};
    memcpy(c, span.data, span.size < 4 ? span.size : 4);
    size_t size = c[0] < 0x80 ? 1 : 0;
    if (c[0] < 0x20 || c[0] == 0x7f) return false;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && size == 0; i++) {
      const unsigned char *row = rows[i];
      if (c[0] < row[0] || c[0] > row[1] || c[1] < row[2] || c[1] > row[3]) continue;
      size = c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;
      for (size_t k = 2; k < size; k++) {
        if (c[k] < 0x80 || c[k] > 0xbf) return false;
      }
    }
    if (size == 0) return false;
    take(&span, size);
  }
  return true;
}

/* Returns whether it is an extended value (RFC 8187) in a known character set. */
static bool read_extended(text value, struct fuzz_text *to) {
  text charset = take_up_to(&value, "'");
  bool latin = is(charset, "iso-8859-1");
  if (value.size == 0 || (!latin && !is(charset, "utf-8"))) return false;
  take(&value, 1);
  take_up_to(&value, "'");
  if (value.size == 0) return false;
  take(&value, 1);
  while (value.size > 0) {
    int c = (unsigned char)value.data[0];
    if (!in((char)c, TOKEN) || in((char)c, "*'")) return false;
    if (c == '%') {
      c = escaped(value);
      if (c < 0) return false;
      take(&value, 2);
    }
    take(&value, 1);
    if (latin && c >= 0x80) {
      fuzz_add(to, (text){c < 0xc0 ? "\xc2" : "\xc3", 1});
      c = 0x80 + c % 0x40;
    }
    fuzz_add(to, (text){(char[]){(char)c}, 1});
  }
  return is_plain_utf8(to->data ? fuzz_text_span(to) : (text){"", 0});
}

/* Adds the text of a parameter. Returns it; data is NULL only when there is no parameter. */
static text add_text(const struct parameter *parameter, bool escapes, bool is_name,
                     struct fuzz_text *to) {
  if (!parameter) return (text){NULL, 0};
  if (parameter->quoted) {
    unquote(parameter->value, escapes, is_name, to);
  } else {
    fuzz_add(to, parameter->value);
  }
  return to->data ? fuzz_text_span(to) : (text){"", 0};
}

/* Adds the event that begins a part. Returns whether its Content-Disposition is well-formed. */
static bool read_disposition(text line, text content_type, struct fuzz_text *events) {
  static struct value value;
  bool twice = false, good = read_value(line, true, &value) || read_value(line, false, &value);
  good = good && is(value.type, "form-data");
  const struct parameter *name = find(&value, "name", &twice);
  const struct parameter *file = find(&value, "filename", &twice);
  const struct parameter *extended = find(&value, "filename*", &twice);
  for (size_t i = 0; i < value.count; i++) {
    good = good && (value.parameters[i].quoted || only(value.parameters[i].value, TOKEN) ||
                    is(value.parameters[i].name, "filename*"));
  }
  struct fuzz_text texts[3] = {{0}};
  text name_text = add_text(name, value.escapes, true, &texts[0]);
  text file_text = add_text(file, value.escapes, false, &texts[1]);
  if (extended && !extended->quoted && read_extended(extended->value, &texts[2])) {
    file_text = texts[2].data ? fuzz_text_span(&texts[2]) : (text){"", 0};
  }
  good = good && name && !twice;
  if (good) {
    fuzz_addf(events, "part;");
    fuzz_add_span(events, "name", name_text);
    fuzz_add_span(events, "file", file_text);
    fuzz_add_span(events, "type", content_type);
  }
  for (int i = 0; i < 3; i++) fuzz_text_free(&texts[i]);
  return good;
}

/* ---- parts ---- */

static bool is_field_value(text span) {
  for (size_t i = 0; i < span.size; i++) {
    unsigned char c = (unsigned char)span.data[i];
    if ((c < ' ' && c != '\t') || c == 0x7f) return false;
  }
  return true;
}

/* Joins folded lines: leaves out each CR LF with a blank behind it that does not begin the head. */
static text unfold(text head, char *to) {
  size_t size = 0;
  for (size_t i = 0; i < head.size; i++) {
    bool fold = i > 0 && i + 2 < head.size && starts((text){head.data + i, 2}, "\r\n") &&
                in(head.data[i + 2], BLANK);
    if (fold) {
      i++;
    } else {
      to[size++] = head.data[i];
    }
  }
  return (text){to, size};
}

/* Reads the fields of a head whose lines all have their line ends. */
static void read_fields(text head, struct multipart_reference *r) {
  text disposition = {NULL, 0}, content_type = {NULL, 0};
  unsigned fields = 0;
  char unfolded[MB_MULTIPART_HEAD_MAX];
  head = unfold(head, unfolded);
  for (text line; line = fuzz_take_line(&head), line.size > 1; fields++) {
    line.size--; /* CR */
    text name = take_up_to(&line, ":");
    if (name.size == 0 || !only(name, TOKEN) || line.size == 0) r->malformed = true;
    if (line.size > 0) take(&line, 1);
    if (!is_field_value(line)) r->malformed = true;
    bool is_disposition = is(name, "content-disposition");
    text *known = is_disposition ? &disposition : is(name, "content-type") ? &content_type : NULL;
    if (known && known->data) r->malformed = true;
    if (known) *known = trimmed(line);
  }
  if (fields > MB_MULTIPART_FIELDS_MAX) r->too_large = true;
  if (!disposition.data) r->malformed = true;
  if (r->malformed || r->too_large) return;
  if (!read_disposition(disposition, content_type, &r->events)) r->malformed = true;
}

/* Takes the head of a part. Returns whether it is complete and good. */
static bool read_head(text *rest, struct multipart_reference *r) {
  text head = {rest->data, 0};
  bool complete = false;
  while (!complete && memchr(rest->data, '\n', rest->size)) {
    text line = fuzz_take_line(rest);
    head.size += line.size + 1;
    if (line.size == 0 || line.data[line.size - 1] != '\r') r->malformed = true;
    if (head.size > MB_MULTIPART_HEAD_MAX) r->too_large = true;
    if (r->malformed || r->too_large) return false;
    complete = line.size == 1;
  }
  if (!complete && head.size + rest->size > MB_MULTIPART_HEAD_MAX) r->too_large = true;
  if (!complete) return false;
  read_fields(head, r);
  return !r->malformed && !r->too_large;
}

/*
 * Takes the line behind a delimiter.
 * Returns 1 when a part follows, 0 when the delimiter was the closing one, -1 when the line is malformed
 * or incomplete.
 */
static int read_line(text *rest, struct multipart_reference *r) {
  bool closing = starts(*rest, "--");
  if (closing) take(rest, 2);
  text padding = take_run(rest, BLANK);
  bool crlf = starts(*rest, "\r\n");
  bool half = closing && (starts(*rest, "\r") || starts(*rest, "\n"));
  size_t behind = rest->size;
  bool may_go_on = behind == 0 || (behind == 1 && rest->data[0] == '\r') ||
                   (behind == 1 && rest->data[0] == '-' && !closing && padding.size == 0);
  if (padding.size > PADDING_MAX || (!crlf && !half && !may_go_on)) r->malformed = true;
  if (crlf) take(rest, 2);
  r->closed = closing && (crlf || half || behind == 0) && !r->malformed;
  if (closing) return 0;
  return crlf && !r->malformed ? 1 : -1;
}

/* Returns how many bytes at the end of the text may be the beginning of a delimiter. */
static size_t begun(text span, text delimiter) {
  for (size_t size = delimiter.size - 1; size > 0; size--) {
    if (size <= span.size && memcmp(span.data + span.size - size, delimiter.data, size) == 0) {
      return size;
    }
  }
  return 0;
}

/* Takes the text up to the next delimiter, and the delimiter. Returns whether there is one. */
static bool read_content(text *rest, text delimiter, text *ret_content) {
  const char *found = memmem(rest->data, rest->size, delimiter.data, delimiter.size);
  size_t size = found ? (size_t)(found - rest->data) : rest->size - begun(*rest, delimiter);
  *ret_content = take(rest, size);
  if (found) take(rest, delimiter.size);
  return found;
}

static void read_body(text rest, text delimiter, struct multipart_reference *r) {
  text content;
  bool in_part = false;
  while (read_content(&rest, delimiter, &content)) {
    if (in_part && content.size > 2) {
      /* This leaves out the CR LF that ends the head. */
      fuzz_add_span(&r->events, "data", (text){content.data + 2, content.size - 2});
    }
    int line = read_line(&rest, r);
    if (line < 0) return;
    if (in_part) fuzz_addf(&r->events, "end;");
    in_part = false;
    if (line == 0) {
      fuzz_addf(&r->events, "closed;");
      return;
    }
    if (!read_head(&rest, r)) return;
    in_part = true;
    rest = (text){rest.data - 2, rest.size + 2};
  }
  if (in_part && content.size > 2) {
    fuzz_add_span(&r->events, "data", (text){content.data + 2, content.size - 2});
  }
}

void multipart_reference_read(text boundary, text body, struct multipart_reference *ret) {
  struct fuzz_text whole = FUZZ_TEXT_INIT, delimiter = FUZZ_TEXT_INIT;
  *ret = (struct multipart_reference){.events = FUZZ_TEXT_INIT};
  fuzz_addf(&whole, "\r\n");
  fuzz_add(&whole, body);
  fuzz_addf(&delimiter, "\r\n--");
  fuzz_add(&delimiter, boundary);
  read_body(fuzz_text_span(&whole), fuzz_text_span(&delimiter), ret);
  if (ret->malformed || ret->too_large) fuzz_addf(&ret->events, "refused;");
  fuzz_text_free(&whole);
  fuzz_text_free(&delimiter);
}
