/* Reads multipart/form-data from bytes in any pieces. A delimiter begins with CR and has no other CR. So a
 * search for CR finds it, and no delimiter can begin within a match that failed later. */
#include "http/http_multipart.h"

#include <string.h>

#include "http/http_disposition.h"
#include "http/http_parameter.h"

/* Nobody pads a delimiter, but RFC 2046 allows it for gateways that fill up lines. */
#define PADDING_MAX 256

enum {
  PREAMBLE,      /* before the first delimiter: dropped */
  CONTENT_BEGIN, /* where content begins: the CR LF before it may be that of a delimiter, too */
  CONTENT,
  DELIMITED, /* directly behind a delimiter */
  PADDING,   /* behind a delimiter and some padding; matched counts the padding */
  LINE_LF,   /* behind the CR of a delimiter's line */
  DASH,      /* behind the first "-" of the closing delimiter */
  HEAD,      /* in a part's fields; matched is where the line begins */
  TRAILING,  /* behind the closing delimiter and its padding */
  EPILOGUE,  /* behind the line of the closing delimiter: dropped */
  CLOSE,     /* the closing delimiter is complete, and will be reported without any more bytes */
  REFUSED,   /* is reported without any more bytes, too */
};

/* Returns whether c may be in a boundary (RFC 2046, section 5.1.1: bchars). */
static bool is_boundary_char(char c) {
  static const char others[] = "'()+_,-./:=? ";
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || mb_http_is(c, MB_HTTP_DIGIT) ||
         memchr(others, c, sizeof others - 1);
}

/*
 * Copies a boundary, which does not end with a space. No boundary has a backslash, so one that stands in a
 * quoted value escapes the next character (RFC 9110, section 5.6.4: quoted-pair).
 * Returns its size, or -1 when it is none.
 */
static int copy_boundary(const struct mb_http_parameter *parameter, char *buffer) {
  struct mb_span text = parameter->value;
  int size = 0;
  while (text.size > 0) {
    char c = *mb_http_take(&text, 1).data;
    if (c == '\\' && parameter->quoted && text.size > 0) c = *mb_http_take(&text, 1).data;
    if (!is_boundary_char(c) || size == MB_MULTIPART_BOUNDARY_MAX) return -1;
    buffer[size++] = c;
  }
  return size > 0 && buffer[size - 1] != ' ' ? size : -1;
}

/* Some characters are allowed only in a quoted boundary. They are accepted without quotes, too: mail
 * libraries send "boundary=----=_Part_1". */
int mb_multipart_boundary(struct mb_span content_type, char *buffer) {
  if (content_type.size == 0) return 0;
  struct mb_span type = mb_http_trim(mb_http_take_until(&content_type, ';'));
  if (!mb_http_equals(type, "multipart/form-data")) return 0;
  struct mb_http_parameter parameter;
  int found, size = -1;
  while ((found = mb_http_parameter_next(&content_type, true, &parameter)) > 0) {
    if (!mb_http_equals(parameter.name, "boundary")) continue;
    if (size >= 0) return -1;
    size = copy_boundary(&parameter, buffer);
    if (size < 0) return -1;
  }
  return found < 0 ? -1 : size;
}

static bool refuse(struct mb_multipart *m, int status, const char *why) {
  m->state = REFUSED;
  m->refusal = (struct mb_http_refusal){status, why};
  return false;
}

static enum mb_multipart_event refused(struct mb_multipart *m, int status, const char *why) {
  refuse(m, status, why);
  return MB_MULTIPART_REFUSED;
}

/* Reads a field line, given without its CR LF. Checks every other field too, and ignores it. */
static bool read_field(struct mb_multipart *m, struct mb_span line, struct mb_span *disposition) {
  if (!memchr(line.data, ':', line.size)) {
    return refuse(m, 400, "field line without a colon in the head of a part");
  }
  struct mb_span name = mb_http_take_until(&line, ':');
  if (name.size == 0 || !mb_http_all(name, MB_HTTP_TOKEN)) {
    return refuse(m, 400, "bad field name in the head of a part");
  }
  mb_http_take(&line, 1);
  if (!mb_http_all(line, MB_HTTP_VALUE)) {
    return refuse(m, 400, "control character in the head of a part");
  }
  struct mb_span *known = mb_http_equals(name, "content-disposition") ? disposition
                          : mb_http_equals(name, "content-type")      ? &m->content_type
                                                                      : NULL;
  if (!known) return true;
  if (known->data) return refuse(m, 400, "field twice in the head of a part");
  *known = mb_http_trim(line);
  return true;
}

/*
 * Takes the next field line from the front of the lines of a head, each of which ends with CR LF. A line that
 * begins with a blank belongs to the line before: mail libraries fold long lines. Takes out the CR LF of
 * both, in place (RFC 5322, section 2.2.3).
 */
static struct mb_span take_line(struct mb_multipart *m, struct mb_span *lines) {
  char *begin = m->head + (lines->data - m->head), *out = begin;
  do {
    struct mb_span piece = mb_http_take_until(lines, '\n');
    mb_http_take(lines, 1);
    piece.size--; /* the CR, which was checked when the line came */
    memmove(out, piece.data, piece.size);
    out += piece.size;
  } while (lines->size > 0 && mb_http_is_blank(lines->data[0]));
  return (struct mb_span){begin, (size_t)(out - begin)};
}

/* Reads the complete head of a part. */
static bool read_head(struct mb_multipart *m) {
  struct mb_span lines = {m->head, m->head_size - 2}, disposition = {NULL, 0};
  m->content_type = (struct mb_span){NULL, 0};
  for (int count = 0; lines.size > 0; count++) {
    struct mb_span line = take_line(m, &lines);
    if (count == MB_MULTIPART_FIELDS_MAX) {
      return refuse(m, 413, "too many fields in the head of a part");
    }
    if (!read_field(m, line, &disposition)) return false;
  }
  if (!disposition.data) return refuse(m, 400, "part without Content-Disposition");
  const char *wrong = mb_http_disposition(m->head, disposition, &m->name, &m->file_name);
  return wrong ? refuse(m, 400, wrong) : true;
}

/* Takes bytes of a part's fields, and keeps them until the empty line. */
static enum mb_multipart_event head_bytes(struct mb_multipart *m, struct mb_span *bytes) {
  const char *lf = memchr(bytes->data, '\n', bytes->size);
  size_t count = lf ? (size_t)(lf - bytes->data) + 1 : bytes->size;
  if (count > sizeof m->head - m->head_size) return refused(m, 413, "head of a part too long");
  memcpy(m->head + m->head_size, bytes->data, count);
  mb_http_take(bytes, count);
  m->head_size += count;
  if (!lf) return MB_MULTIPART_MORE;
  size_t line_size = m->head_size - m->matched;
  if (line_size < 2 || m->head[m->head_size - 2] != '\r') {
    return refused(m, 400, "bare LF in the head of a part");
  }
  if (line_size > 2) {
    m->matched = m->head_size;
    return MB_MULTIPART_MORE;
  }
  if (!read_head(m)) return MB_MULTIPART_REFUSED;
  /*
   * A part without content is sent as two CR LF and a delimiter with a CR LF of its own. By the
   * grammar of RFC 2046 (body-part) the empty line's CR LF may be that of the delimiter as well; no
   * content may begin like that. Either way the part is empty.
   */
  m->state = CONTENT_BEGIN;
  m->matched = 2;
  return MB_MULTIPART_PART;
}

/* A complete delimiter has come. The bytes behind it decide whether it is the closing one. */
static void delimited(struct mb_multipart *m) {
  m->state = DELIMITED;
  m->matched = 0;
}

/* Compares the bytes with the rest of a delimiter that may have begun. */
static enum mb_multipart_event match_on(struct mb_multipart *m, struct mb_span *bytes) {
  size_t count = m->delimiter_size - m->matched;
  if (count > bytes->size) count = bytes->size;
  if (memcmp(bytes->data, m->delimiter + m->matched, count) == 0) {
    mb_http_take(bytes, count);
    m->matched += count;
    if (m->matched == m->delimiter_size) delimited(m);
    return MB_MULTIPART_MORE;
  }
  size_t before = m->state == CONTENT_BEGIN ? 2 : 0; /* belongs to the head */
  m->data = (struct mb_span){m->delimiter + before, m->matched - before};
  m->matched = 0;
  if (m->state == PREAMBLE) return MB_MULTIPART_MORE;
  m->state = CONTENT;
  return m->data.size > 0 ? MB_MULTIPART_DATA : MB_MULTIPART_MORE;
}

/* Takes content or preamble, and the delimiter behind it, or the bytes that may become one. */
static enum mb_multipart_event content_bytes(struct mb_multipart *m, struct mb_span *bytes) {
  if (m->matched > 0) return match_on(m, bytes);
  const char *at = bytes->data, *end = at + bytes->size;
  size_t count = 0;
  while ((at = memchr(at, '\r', (size_t)(end - at)))) {
    count = (size_t)(end - at);
    if (count > m->delimiter_size) count = m->delimiter_size;
    if (memcmp(at, m->delimiter, count) == 0) break;
    at++;
  }
  m->data = mb_http_take(bytes, (size_t)((at ? at : end) - bytes->data));
  if (at) {
    mb_http_take(bytes, count);
    m->matched = count;
  }
  bool report = m->state == CONTENT && m->data.size > 0;
  if (m->matched == m->delimiter_size) delimited(m);
  return report ? MB_MULTIPART_DATA : MB_MULTIPART_MORE;
}

/* Ends the part that is open, if there is one: it has a head then. */
static enum mb_multipart_event end_part(struct mb_multipart *m) {
  bool open = m->head_size > 0;
  m->head_size = 0;
  m->matched = 0;
  return open ? MB_MULTIPART_END : MB_MULTIPART_MORE;
}

static enum mb_multipart_event go_to(struct mb_multipart *m, int state) {
  m->state = state;
  return MB_MULTIPART_MORE;
}

/* Reads a byte of the line behind a delimiter: "--", padding, CR LF (RFC 2046, section 5.1.1). A part has
 * ended only when that line is well-formed. */
static enum mb_multipart_event line_byte(struct mb_multipart *m, struct mb_span *bytes) {
  char c = *mb_http_take(bytes, 1).data;
  switch (m->state) {
    case DELIMITED:
      if (c == '-') return go_to(m, DASH);
      /* fallthrough */
    case PADDING:
      if (c == '\r') return go_to(m, LINE_LF);
      if (mb_http_is_blank(c) && m->matched++ < PADDING_MAX) return go_to(m, PADDING);
      break;
    case LINE_LF:
      if (c != '\n') break;
      m->state = HEAD;
      return end_part(m);
    case DASH:
      if (c != '-') break;
      m->state = CLOSE;
      return end_part(m);
    case TRAILING:
      /* Nothing behind this line means anything, so a CR or an LF alone ends it as well. */
      if (c == '\r' || c == '\n') return go_to(m, EPILOGUE);
      if (mb_http_is_blank(c) && m->matched++ < PADDING_MAX) return MB_MULTIPART_MORE;
      break;
    default:
      break;
  }
  bool padding = mb_http_is_blank(c) && (m->state == PADDING || m->state == TRAILING);
  return refused(m, 400,
                 padding ? "too much padding behind a boundary" : "garbage behind a boundary");
}

void mb_multipart_init(struct mb_multipart *m, struct mb_span boundary) {
  m->state = PREAMBLE;
  memcpy(m->delimiter, "\r\n--", 4);
  memcpy(m->delimiter + 4, boundary.data, boundary.size);
  m->delimiter_size = boundary.size + 4;
  m->matched = 2; /* the first delimiter may begin the body, without a CR LF */
  m->head_size = 0;
  m->refusal = (struct mb_http_refusal){0, NULL};
}

enum mb_multipart_event mb_multipart_next(struct mb_multipart *m, struct mb_span *bytes) {
  enum mb_multipart_event event = MB_MULTIPART_MORE;
  while (event == MB_MULTIPART_MORE && (bytes->size > 0 || m->state >= CLOSE)) {
    switch (m->state) {
      case PREAMBLE:
      case CONTENT_BEGIN:
      case CONTENT:
        event = content_bytes(m, bytes);
        break;
      case HEAD:
        event = head_bytes(m, bytes);
        break;
      case EPILOGUE:
        mb_http_take(bytes, bytes->size);
        break;
      case CLOSE:
        m->state = TRAILING;
        return MB_MULTIPART_CLOSED;
      case REFUSED:
        return MB_MULTIPART_REFUSED;
      default:
        event = line_byte(m, bytes);
    }
  }
  return event;
}

bool mb_multipart_is_closed(const struct mb_multipart *m) {
  return m->state == CLOSE || m->state == TRAILING || m->state == EPILOGUE;
}
