/* Reads parameters. A value without quotes may have any bytes except blanks, quotes and semicolons; the
 * caller decides whether it has to be a token. */
#include "http/http_parameter.h"

#include <string.h>

bool mb_http_is_escape(struct mb_span behind) {
  return behind.size > 0 && (behind.data[0] == '"' || behind.data[0] == '\\');
}

/* Takes the rest of a quoted string, behind its first quote, and the quote at its end. */
static bool take_quoted(struct mb_span *from, bool escapes, struct mb_span *ret) {
  size_t i = 0;
  while (i < from->size && from->data[i] != '"') {
    struct mb_span behind = {from->data + i + 1, from->size - i - 1};
    i += escapes && from->data[i] == '\\' && mb_http_is_escape(behind) ? 2 : 1;
  }
  if (i == from->size) return false;
  *ret = mb_http_take(from, i);
  mb_http_take(from, 1);
  return true;
}

int mb_http_parameter_next(struct mb_span *rest, bool escapes, struct mb_http_parameter *ret) {
  *rest = mb_http_trim(*rest);
  if (rest->size == 0) return 0;
  if (rest->data[0] != ';') return -1;
  while (rest->size > 0 && (rest->data[0] == ';' || mb_http_is_blank(rest->data[0])))
    mb_http_take(rest, 1);
  if (rest->size == 0) return 0;
  ret->name = mb_http_trim(mb_http_take_until(rest, '='));
  if (ret->name.size == 0 || !mb_http_all(ret->name, MB_HTTP_TOKEN) || rest->size == 0) return -1;
  mb_http_take(rest, 1);
  while (rest->size > 0 && mb_http_is_blank(rest->data[0])) mb_http_take(rest, 1);
  ret->quoted = rest->size > 0 && rest->data[0] == '"';
  if (ret->quoted) {
    mb_http_take(rest, 1);
    return take_quoted(rest, escapes, &ret->value) ? 1 : -1;
  }
  size_t size = 0;
  while (size < rest->size && !mb_http_is_blank(rest->data[size]) && rest->data[size] != ';')
    size++;
  ret->value = mb_http_take(rest, size);
  return size > 0 && !memchr(ret->value.data, '"', size) ? 1 : -1;
}
