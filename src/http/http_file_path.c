/* Makes the path of a file of that of a URL. */
#include "http/http_file_path.h"

#include <string.h>

#include "http/http_segment.h"

/* Copies a segment that is decoded. Returns its size; -1 when no file can have such a name. */
static ptrdiff_t copy(char *to, struct mb_span from) {
  if (!mb_http_segment_is_name(from)) return -1;
  if (from.size > 0) memcpy(to, from.data, from.size);
  return (ptrdiff_t)from.size;
}

static bool is_well_known(const char *segment, ptrdiff_t size) {
  static const char name[] = ".well-known";
  return size == sizeof name - 1 && memcmp(segment, name, sizeof name - 1) == 0;
}

int mb_http_file_path(char *to, struct mb_span path, bool decoded, struct mb_http_file_path *ret) {
  size_t at = 0;
  bool is_first = true, is_last, is_hidden = false, ends_with_slash = path.size == 0;
  do {
    struct mb_span segment = mb_http_take_until(&path, '/');
    is_last = path.size == 0;
    if (!is_last) mb_http_take(&path, 1);
    if (!is_first) to[at++] = '/';
    ptrdiff_t size = decoded ? copy(to + at, segment) : mb_http_segment_decode(to + at, segment);
    if (size < 0) return 400;
    if (size == 0) {
      if (!is_last) return 404;
      ends_with_slash = true;
      if (at > 0) at--;
    }
    if (size > 0 && to[at] == '.' && !(is_first && is_well_known(to + at, size))) is_hidden = true;
    at += (size_t)size;
    is_first = false;
  } while (!is_last);
  if (at == 0) to[at++] = '.';
  to[at] = '\0';
  *ret = (struct mb_http_file_path){at, ends_with_slash, is_hidden};
  return 0;
}
