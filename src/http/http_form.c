/* Reads queries, forms and cookies; does percent-encoding; makes text for HTML. Never fails: a malformed
 * piece stays as it came. */
#include "http/http_form.h"

#include <string.h>

/* Takes the next piece from the front of the text, and the separator behind it. */
static struct mb_span next_piece(struct mb_span *text, char separator) {
  const char *end = memchr(text->data, separator, text->size);
  struct mb_span piece = {text->data, end ? (size_t)(end - text->data) : text->size};
  size_t taken = end ? piece.size + 1 : piece.size;
  text->data += taken;
  text->size -= taken;
  return piece;
}

bool mb_form_next(struct mb_span *form, struct mb_span *ret_name, struct mb_span *ret_value) {
  while (form->size > 0) {
    struct mb_span value = next_piece(form, '&');
    if (value.size == 0) continue;
    *ret_name = next_piece(&value, '=');
    *ret_value = value;
    return true;
  }
  return false;
}

bool mb_cookie_next(struct mb_span *cookies, struct mb_span *ret_name, struct mb_span *ret_value) {
  while (cookies->size > 0) {
    struct mb_span value = next_piece(cookies, ';');
    size_t size = value.size;
    struct mb_span name = next_piece(&value, '=');
    if (name.size == size) continue; /* no "=" */
    name = mb_http_trim(name);
    if (name.size == 0) continue;
    *ret_name = name;
    *ret_value = mb_http_trim(value);
    return true;
  }
  return false;
}

size_t mb_form_decode(char *to, struct mb_span from, bool plus) {
  const char *in = from.data, *end = from.data + from.size;
  char *out = to;
  while (in < end) {
    char c = *in++;
    if (c == '%' && end - in >= 2) {
      int high = mb_http_hex(in[0]), low = mb_http_hex(in[1]);
      if (high >= 0 && low >= 0) {
        c = (char)(high << 4 | low);
        in += 2;
      }
    } else if (c == '+' && plus) {
      c = ' ';
    }
    *out++ = c;
  }
  return (size_t)(out - to);
}

/* Returns whether c is an unreserved character of RFC 3986, section 2.3. Does not ask the locale. */
static bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

size_t mb_form_encode(char *to, struct mb_span from) {
  static const char digits[] = "0123456789ABCDEF";
  char *out = to;
  for (size_t i = 0; i < from.size; i++) {
    char c = from.data[i];
    if (is_unreserved(c)) {
      *out++ = c;
    } else {
      *out++ = '%';
      *out++ = digits[(unsigned char)c >> 4];
      *out++ = digits[(unsigned char)c & 15];
    }
  }
  return (size_t)(out - to);
}

static const char *html_reference(char c) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&#39;"; /* "&apos;" is unknown to HTML 4 */
    default:
      return NULL;
  }
}

size_t mb_html_encode(char *to, struct mb_span from) {
  char *out = to;
  for (size_t i = 0; i < from.size; i++) {
    const char *reference = html_reference(from.data[i]);
    if (reference) {
      size_t size = strlen(reference);
      memcpy(out, reference, size);
      out += size;
    } else {
      *out++ = from.data[i];
    }
  }
  return (size_t)(out - to);
}
