/* Segments of the path of a URL. Refuses what could lead somewhere else than it seems to. */
#include "http/http_segment.h"

#include <string.h>

#include "http/http_form.h"

bool mb_http_segment_is_name(struct mb_span s) {
  if (s.size == 0) return true;
  if (memchr(s.data, '\0', s.size) || memchr(s.data, '/', s.size)) return false;
  return s.size > 2 || memcmp(s.data, "..", s.size) != 0;
}

ptrdiff_t mb_http_segment_decode(char *to, struct mb_span from) {
  size_t size = mb_form_decode(to, from, false);
  return mb_http_segment_is_name((struct mb_span){to, size}) ? (ptrdiff_t)size : -1;
}
