/* Counts names and values that a client chooses. */
#include "http/http_names.h"

bool mb_http_names_add(struct mb_http_names *names, size_t size, bool is_new) {
  if (is_new && size > MB_HTTP_NAME_SHORT) names->long_ones++;
  return ++names->count <= MB_HTTP_NAMES_MAX && names->long_ones <= MB_HTTP_LONG_NAMES_MAX;
}

bool mb_http_names_value(struct mb_http_names *names, struct mb_span value) {
  size_t step = (value.size >> 5) + 1; /* as Lua's hash goes, from the end */
  unsigned place = (unsigned)value.size;
  for (size_t at = value.size; at >= step; at -= step) {
    place = place * 31 + (unsigned char)value.data[at - 1];
  }
  return ++names->alike[place % 256] <= MB_HTTP_ALIKE_MAX;
}
