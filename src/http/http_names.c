/* Counts names that a client chooses. */
#include "http/http_names.h"

bool mb_http_names_add(struct mb_http_names *names, size_t size, bool is_new) {
  if (is_new && size > MB_HTTP_NAME_SHORT) names->long_ones++;
  return ++names->count <= MB_HTTP_NAMES_MAX && names->long_ones <= MB_HTTP_LONG_NAMES_MAX;
}
