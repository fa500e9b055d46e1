/* The character classes of HTTP, and the small readers that every HTTP scanner needs. */
#include "http/http_span.h"

#include <string.h>

#define QUERY (MB_HTTP_VALUE | MB_HTTP_TARGET)
#define PATH  (QUERY | MB_HTTP_PATH)
#define HOST  (PATH | MB_HTTP_HOST)
#define NAME  (HOST | MB_HTTP_TOKEN)

/* A character that is not listed is a control character, and belongs to no class. */
const unsigned char mb_http_classes[256] = {
    ['\t'] = MB_HTTP_VALUE,
    [' '] = MB_HTTP_VALUE,
    ['!'] = NAME,
    ['"'] = MB_HTTP_VALUE,
    ['#'] = MB_HTTP_VALUE | MB_HTTP_TOKEN,
    ['$'] = NAME,
    ['%'] = QUERY | MB_HTTP_TOKEN | MB_HTTP_HOST,
    ['&' ... '\''] = NAME,
    ['(' ... ')'] = HOST,
    ['*' ... '+'] = NAME,
    [','] = HOST,
    ['-' ... '.'] = NAME,
    ['/'] = PATH,
    ['0' ... '9'] = NAME | MB_HTTP_DIGIT | MB_HTTP_HEX,
    [':' ... ';'] = HOST,
    ['<'] = MB_HTTP_VALUE,
    ['='] = HOST,
    ['>'] = MB_HTTP_VALUE,
    ['?'] = QUERY,
    ['@'] = PATH,
    ['A' ... 'F'] = NAME | MB_HTTP_HEX,
    ['G' ... 'Z'] = NAME,
    ['['] = PATH,
    ['\\'] = QUERY,
    [']'] = PATH,
    ['^'] = QUERY | MB_HTTP_TOKEN,
    ['_'] = NAME,
    ['`'] = QUERY | MB_HTTP_TOKEN,
    ['a' ... 'f'] = NAME | MB_HTTP_HEX,
    ['g' ... 'z'] = NAME,
    ['{'] = QUERY,
    ['|'] = QUERY | MB_HTTP_TOKEN,
    ['}'] = QUERY,
    ['~'] = NAME,
    [0x80 ... 0xff] = MB_HTTP_VALUE,
};

struct mb_span mb_http_take_until(struct mb_span *from, char wanted) {
  const char *end = from->size > 0 ? memchr(from->data, wanted, from->size) : NULL;
  return mb_http_take(from, end ? (size_t)(end - from->data) : from->size);
}

bool mb_http_all(struct mb_span span, unsigned char class) {
  for (size_t i = 0; i < span.size; i++) {
    if (!mb_http_is(span.data[i], class)) return false;
  }
  return true;
}

bool mb_http_equals(struct mb_span span, const char *word) {
  for (size_t i = 0; i < span.size; i++) {
    char c = span.data[i];
    if (c >= 'A' && c <= 'Z') c = (char)(c + ('a' - 'A'));
    if (word[i] == '\0' || c != word[i]) return false;
  }
  return word[span.size] == '\0';
}

struct mb_span mb_http_trim(struct mb_span span) {
  while (span.size > 0 && mb_http_is_blank(span.data[span.size - 1])) span.size--;
  while (span.size > 0 && mb_http_is_blank(span.data[0])) {
    span.data++;
    span.size--;
  }
  return span;
}

int mb_http_hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* Returns the size up to the first comma that is not quoted. A quoted string that nothing closes goes on to
 * the end of the list. */
static size_t element_size(struct mb_span list) {
  bool quoted = false;
  for (size_t i = 0; i < list.size; i++) {
    char c = list.data[i];
    if (c == '"') {
      quoted = !quoted;
    } else if (quoted && c == '\\') {
      i++;
    } else if (c == ',' && !quoted) {
      return i;
    }
  }
  return list.size;
}

bool mb_http_list_next(struct mb_span *list, struct mb_span *ret_element) {
  while (list->size > 0) {
    struct mb_span element = {list->data, element_size(*list)};
    size_t taken = element.size < list->size ? element.size + 1 : element.size;
    list->data += taken;
    list->size -= taken;
    element = mb_http_trim(element);
    if (element.size > 0) {
      *ret_element = element;
      return true;
    }
  }
  return false;
}

const char *mb_http_field_wrong(struct mb_span name, struct mb_span value) {
  if (name.size == 0 || !mb_http_all(name, MB_HTTP_TOKEN)) {
    return "the name of a header field may hold letters, digits and !#$%&'*+-.^_`|~ only";
  }
  if (!mb_http_all(value, MB_HTTP_VALUE)) {
    return "the value of a header field must not hold line ends or other control characters";
  }
  return NULL;
}
