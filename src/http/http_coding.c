/* Reads the Accept-Encoding field. */
#include "http/http_coding.h"

#include <string.h>

/* Reads a weight, such as "0.5". Returns thousandths; 0 when it is malformed. */
static unsigned read_weight(struct mb_span text) {
  unsigned weight = 0, place = 1000;
  if (text.size == 0 || text.size > 5 || (text.data[0] != '0' && text.data[0] != '1')) return 0;
  for (size_t i = 0; i < text.size; i++) {
    if (i == 1) {
      if (text.data[i] != '.') return 0;
      continue;
    }
    if (!mb_http_is(text.data[i], MB_HTTP_DIGIT)) return 0;
    weight += (unsigned)(text.data[i] - '0') * place;
    place /= 10;
  }
  return weight <= 1000 ? weight : 0;
}

/* Takes "; q=WEIGHT" behind the name of a coding apart. Returns the weight. */
static unsigned weight_behind(struct mb_span rest) {
  unsigned weight = 1000;
  while (rest.size > 0) {
    mb_http_take(&rest, 1); /* the semicolon */
    struct mb_span parameter = mb_http_trim(mb_http_take_until(&rest, ';'));
    if (parameter.size >= 2 && (parameter.data[0] | 0x20) == 'q' && parameter.data[1] == '=') {
      mb_http_take(&parameter, 2);
      weight = read_weight(parameter);
    }
  }
  return weight;
}

/* Returns whether two names mean one coding: x-gzip is an old name (RFC 9110, section 8.4.1.3). */
static bool is_coding(struct mb_span name, const char *coding) {
  return mb_http_equals(name, coding) ||
         (strcmp(coding, "gzip") == 0 && mb_http_equals(name, "x-gzip"));
}

unsigned mb_http_coding_weight(const struct mb_http_head *head, const char *coding) {
  unsigned any = 0;
  for (unsigned i = 0; i < head->field_count; i++) {
    struct mb_span list = head->fields[i].value, element;
    if (!mb_http_equals(head->fields[i].name, "accept-encoding")) continue;
    while (mb_http_list_next(&list, &element)) {
      struct mb_span name = mb_http_trim(mb_http_take_until(&element, ';'));
      if (is_coding(name, coding)) return weight_behind(element);
      if (mb_http_equals(name, "*")) any = weight_behind(element);
    }
  }
  return any;
}
