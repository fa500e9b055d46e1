/* Reads Content-Disposition: form-data; name="..."; filename="..."; filename*=... */
#include "http/http_disposition.h"

#include "http/http_parameter.h"

static const char malformed[] = "malformed Content-Disposition of a part";
static const char malformed_extended[] = "malformed filename* of a part";

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
 */
static struct mb_span unquote(char *head, struct mb_span value, bool escapes) {
  char *to = in_head(head, value), *out = to;
  while (value.size > 0) {
    char c = *mb_http_take(&value, 1).data;
    int byte = c == '%' ? escaped(value) : -1;
    if (escapes && c == '\\' && mb_http_is_escape(value)) {
      c = *mb_http_take(&value, 1).data;
    } else if (byte == '"' || byte == '\r' || byte == '\n') {
      c = (char)byte;
      mb_http_take(&value, 2);
    }
    *out++ = c;
  }
  return (struct mb_span){to, (size_t)(out - to)};
}

/* Decodes the text of an extended value in place. ISO-8859-1 becomes UTF-8, whose two bytes are
 * fewer than the three of the escape. Returns false when it is malformed, or has a NUL: neither a file
 * name nor a field may have one. */
static bool decode_extended(char *head, struct mb_span text, bool latin, struct mb_span *ret) {
  char *to = in_head(head, text), *out = to;
  while (text.size > 0) {
    int c = *mb_http_take(&text, 1).data;
    if (c == '*' || c == '\'') return false;
    if (c == '%') {
      c = escaped(text);
      if (c <= 0) return false;
      mb_http_take(&text, 2);
      if (latin && c >= 0x80) {
        *out++ = (char)(0xc0 | c >> 6);
        c = 0x80 | (c & 0x3f);
      }
    }
    *out++ = (char)c;
  }
  *ret = (struct mb_span){to, (size_t)(out - to)};
  return true;
}

/* Reads an extended value (RFC 8187, section 3.2): charset'language'text. */
static const char *read_extended(char *head, struct mb_span value, struct mb_span *ret) {
  struct mb_span charset = mb_http_take_until(&value, '\'');
  if (value.size > 0) mb_http_take(&value, 1);
  mb_http_take_until(&value, '\'');
  if (value.size == 0) return malformed_extended;
  mb_http_take(&value, 1);
  bool latin = mb_http_equals(charset, "iso-8859-1");
  if (!latin && !mb_http_equals(charset, "utf-8")) {
    return "filename* of a part in an unknown character set";
  }
  return decode_extended(head, value, latin, ret) ? NULL : malformed_extended;
}

/* Decodes the value of one of our parameters. */
static const char *read_parameter(char *head, const struct mb_http_parameter *parameter,
                                  bool escapes, bool extended, struct mb_span *ret) {
  if (ret->data) return "parameter twice in a Content-Disposition";
  if (extended) {
    if (parameter->quoted) return malformed_extended;
    return read_extended(head, parameter->value, ret);
  }
  *ret = parameter->quoted ? unquote(head, parameter->value, escapes) : parameter->value;
  return NULL;
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
  static const char *const known[] = {"name", "filename", "filename*"};
  struct mb_span values[3] = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
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
    if (!parameter.quoted && !mb_http_all(parameter.value, MB_HTTP_TOKEN)) return malformed;
    size_t i = 0;
    while (i < 3 && !mb_http_equals(parameter.name, known[i])) i++;
    if (i == 3) continue;
    const char *wrong = read_parameter(head, &parameter, escapes, i == 2, &values[i]);
    if (wrong) return wrong;
  }
  if (!values[0].data) return "part without a name";
  *ret_name = values[0];
  *ret_file_name = values[2].data ? values[2] : values[1];
  return NULL;
}
