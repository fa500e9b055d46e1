/* Reads the Range field. What asks for more work than the whole file has no effect. */
#include "http/http_range.h"

#include <stdbool.h>

/* Takes digits from the front. A number that is too large becomes the largest one. Returns whether there were any. */
static bool take_number(struct mb_span *from, uint64_t *ret) {
  uint64_t number = 0;
  size_t i = 0;
  for (; i < from->size && mb_http_is(from->data[i], MB_HTTP_DIGIT); i++) {
    unsigned digit = (unsigned)(from->data[i] - '0');
    number = number > (UINT64_MAX - digit) / 10 ? UINT64_MAX : number * 10 + digit;
  }
  mb_http_take(from, i);
  *ret = number;
  return i > 0;
}

static bool take_dash(struct mb_span *from) {
  if (from->size == 0 || from->data[0] != '-') return false;
  mb_http_take(from, 1);
  return true;
}

/*
 * Reads "FIRST-LAST", "FIRST-" or "-COUNT".
 * Returns 1; 0 when the range has no byte of the file; -1 when it is malformed.
 */
static int read_range(struct mb_span text, uint64_t size, struct mb_http_range *ret) {
  bool has_first = take_number(&text, &ret->first);
  if (!take_dash(&text)) return -1;
  bool has_last = take_number(&text, &ret->last);
  if (text.size > 0 || !(has_first || has_last)) return -1;
  if (!has_first) { /* the last bytes of the file */
    uint64_t count = ret->last < size ? ret->last : size;
    ret->first = size - count;
    ret->last = size - 1;
    return count > 0;
  }
  if (has_last && ret->last < ret->first) return -1;
  if (!has_last || ret->last >= size) ret->last = size - 1;
  return ret->first < size;
}

int mb_http_ranges_read(struct mb_span value, uint64_t size,
                        struct mb_http_range ret[MB_HTTP_RANGES_MAX]) {
  struct mb_span rest = value, unit = mb_http_take_until(&rest, '='), element;
  if (!mb_http_equals(unit, "bytes") || rest.size == 0) return MB_HTTP_RANGES_NONE;
  mb_http_take(&rest, 1);
  uint64_t left = size;
  int count = 0;
  bool is_too_much = false;
  for (int elements = 0; mb_http_list_next(&rest, &element); elements++) {
    struct mb_http_range range;
    /* More than the limit is malformed or has no effect: nobody looks at the rest. */
    if (elements == MB_HTTP_RANGES_MAX) return MB_HTTP_RANGES_NONE;
    int r = read_range(element, size, &range);
    if (r < 0) return MB_HTTP_RANGES_WRONG;
    if (r == 0) continue;
    uint64_t length = range.last - range.first + 1;
    is_too_much |= length > left;
    left -= length < left ? length : left;
    ret[count++] = range;
  }
  if (is_too_much) return MB_HTTP_RANGES_NONE;
  if (count > 0) return count;
  /* Clients ask for all files by parts; a part of an empty one cannot be named in a 206. */
  return size == 0 ? MB_HTTP_RANGES_NONE : MB_HTTP_RANGES_WRONG;
}
