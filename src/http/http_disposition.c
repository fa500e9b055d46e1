/* Reads Content-Disposition: form-data; name="..."; filename="..."; filename*=... */
#include "http/http_disposition.h"

#include "http/http_parameter.h"

static const char malformed[] = "malformed Content-Disposition of a part";

/* The parameters that are read. */
enum { NAME, FILENAME, EXTENDED, KNOWN };

/* Returns where a span begins, in the head of a part, to write there. */
static char *in_head(char *head, struct mb_span span) { return head + (span.data - head); }

/* Returns the byte that the escape behind a "%" stands for, or -1. */
static int escaped(struct mb_span behind) {
  if (behind.size < 2) return -1;
  int high = mb_http_hex(behind.data[0]), low = mb_http_hex(behind.data[1]);
  return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/*
 * Decodes a quoted value in place: \" and \\, and the escapes %22, %0D and %0A, which the HTML standard
 * lets browsers write for a quote, CR and LF. Other backslashes stay: old browsers send "C:\path\file".
 * line_ends  whether %0D and %0A are decoded: in a file name, no script expects a line end
 */
static struct mb_span unquote(char *head, struct mb_span value, bool escapes, bool line_ends) {
  char *to = in_head(head, value), *out = to;
  while (value.size > 0) {
    char c = *mb_http_take(&value, 1).data;
    int byte = c == '%' ? escaped(value) : -1;
    if (escapes && c == '\\' && mb_http_is_escape(value)) {
      c = *mb_http_take(&value, 1).data;
    } else if (byte == '"' || (line_ends && (byte == '\r' || byte == '\n'))) {
      c = (char)byte;
      mb_http_take(&value, 2);
    }
    *out++ = c;
  }
  return (struct mb_span){to, (size_t)(out - to)};
}

/*
 * Takes a character, in the shortest form that UTF-8 has for it, from the front of a text.
 * Returns its code point; or -1 when there is none, or a surrogate.
 */
static long take_utf8(struct mb_span *text) {
  static const long least[] = {0, 0x80, 0x800, 0x10000};
  unsigned char first = (unsigned char)*mb_http_take(text, 1).data;
  int more = first < 0x80   ? 0
             : first < 0xc0 ? -1
             : first < 0xe0 ? 1
             : first < 0xf0 ? 2
             : first < 0xf8 ? 3
                            : -1;
  if (more < 0 || (size_t)more > text->size) return -1;
  long point = more == 0 ? first : first & (0x3f >> more);
  for (int i = 0; i < more; i++) {
    unsigned char c = (unsigned char)*mb_http_take(text, 1).data;
    if ((c & 0xc0) != 0x80) return -1;
    point = point << 6 | (c & 0x3f);
  }
  return point < least[more] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000) ? -1
                                                                                        : point;
}

/* Returns whether a text is well-formed UTF-8 without control characters, of which line ends are some. */
static bool is_plain(struct mb_span text) {
  while (text.size > 0) {
    long point = take_utf8(&text);
    if (point < 0x20 || (point >= 0x7f && point < 0xa0)) return false;
  }
  return true;
}

/* Decodes the text of an extended value in place. ISO-8859-1 becomes UTF-8, whose two bytes are
 * fewer than the three of the escape. Returns false when it is malformed or not plain. */
static bool decode_extended(char *head, struct mb_span text, bool latin, struct mb_span *ret) {
  char *to = in_head(head, text), *out = to;
  while (text.size > 0) {
    int c = *mb_http_take(&text, 1).data;
    if (c == '*' || c == '\'') return false;
    if (c == '%') {
      c = escaped(text);
      if (c < 0) return false;
      mb_http_take(&text, 2);
      if (latin && c >= 0x80) {
        *out++ = (char)(0xc0 | c >> 6);
        c = 0x80 | (c & 0x3f);
      }
    }
    *out++ = (char)c;
  }
  struct mb_span decoded = {to, (size_t)(out - to)};
  if (!is_plain(decoded)) return false;
  *ret = decoded;
  return true;
}

/*
 * Reads an extended value (RFC 8187, section 3.2): charset'language'text. Its sender uses it beside the plain
 * parameter, or else has no business to use it in a form (RFC 7578, section 4.2). So one that we cannot read
 * counts as not sent, and does not cost the whole form.
 */
static void read_extended(char *head, struct mb_span value, struct mb_span *ret) {
  struct mb_span charset = mb_http_take_until(&value, '\'');
  if (value.size > 0) mb_http_take(&value, 1);
  mb_http_take_until(&value, '\'');
  if (value.size == 0) return;
  mb_http_take(&value, 1);
  bool latin = mb_http_equals(charset, "iso-8859-1");
  if (latin || mb_http_equals(charset, "utf-8")) decode_extended(head, value, latin, ret);
}

/* Returns whether the text, read in this way, has parameters and nothing else. */
static bool are_parameters(struct mb_span rest, bool escapes) {
  struct mb_http_parameter parameter;
  int found;
  do {
    found = mb_http_parameter_next(&rest, escapes, &parameter);
  } while (found > 0);
  return found == 0;
}

const char *mb_http_disposition(char *head, struct mb_span value, struct mb_span *ret_name,
                                struct mb_span *ret_file_name) {
  static const char *const known[KNOWN] = {"name", "filename", "filename*"};
  struct mb_span values[KNOWN] = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
  bool seen[KNOWN] = {false, false, false};
  struct mb_span type = mb_http_trim(mb_http_take_until(&value, ';'));
  if (!mb_http_equals(type, "form-data")) {
    return "part whose Content-Disposition is not form-data";
  }
  /* Mail libraries and curl escape quotes and backslashes with a backslash; browsers do not. We read
   * backslashes as escapes first. If that makes no sense, a backslash is a plain character, and "dir\"
   * is a whole value. */
  bool escapes = are_parameters(value, true);
  if (!escapes && !are_parameters(value, false)) return malformed;
  struct mb_http_parameter parameter;
  while (mb_http_parameter_next(&value, escapes, &parameter) > 0) {
    int i = 0;
    while (i < KNOWN && !mb_http_equals(parameter.name, known[i])) i++;
    bool good = parameter.quoted || mb_http_all(parameter.value, MB_HTTP_TOKEN);
    if (!good && i != EXTENDED) return malformed;
    if (i == KNOWN) continue;
    if (seen[i]) return "parameter twice in a Content-Disposition";
    seen[i] = true;
    if (i != EXTENDED) {
      values[i] =
          parameter.quoted ? unquote(head, parameter.value, escapes, i == NAME) : parameter.value;
    } else if (good && !parameter.quoted) {
      read_extended(head, parameter.value, &values[i]);
    }
  }
  if (!seen[NAME]) return "part without a name";
  *ret_name = values[NAME];
  *ret_file_name = values[EXTENDED].data ? values[EXTENDED] : values[FILENAME];
  return NULL;
}
