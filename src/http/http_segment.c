/* Segments of the path of a URL. Refuses what could lead somewhere else than it seems to. */
#include "http/http_segment.h"

#include <string.h>

#include "http/http_form.h"

ptrdiff_t mb_http_segment_decode(char *to, struct mb_span from) {
  size_t size = mb_form_decode(to, from, false);
  if (memchr(to, '\0', size) || memchr(to, '/', size)) return -1;
  if (size > 0 && size <= 2 && memcmp(to, "..", size) == 0) return -1;
  return (ptrdiff_t)size;
}
