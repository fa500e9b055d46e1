/* src/base/buf.c: every way to split an input gives the same bytes and the same terminators. */
#include "base/buf.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "../../lib/tap.h"

static struct mb_alloc alloc;

static void add(struct mb_buf *b, const char *data, size_t len) {
  if (len == 0) return;
  if (mb_buf_reserve(b, &alloc, len) < 0) tap_bail("no memory");
  size_t room;
  char *to = mb_buf_room(b, &room);
  if (room < len) tap_bail("less room than reserved");
  memcpy(to, data, len);
  mb_buf_added(b, len);
}

static void every_split(void) {
  static const char text[] = "ab\ncd\n\nef";
  const size_t len = sizeof text - 1;
  bool same = true;
  for (size_t split = 0; split <= len; split++) {
    struct mb_buf b = MB_BUF_INIT;
    char lines[64] = "";
    add(&b, text, split);
    for (int part = 0; part < 2; part++) {
      size_t n;
      while ((n = mb_buf_find(&b, '\n', SIZE_MAX)) > 0) {
        strncat(lines, mb_buf_bytes(&b), n);
        strcat(lines, "|");
        mb_buf_take(&b, n);
      }
      if (part == 0) add(&b, text + split, len - split);
    }
    same = same && strcmp(lines, "ab\n|cd\n|\n|") == 0 && mb_buf_len(&b) == 2;
    mb_buf_free(&b, &alloc);
  }
  tap_ok(same, "the same lines however the input is split");
}

static void search(void) {
  struct mb_buf b = MB_BUF_INIT;
  tap_int((long long)mb_buf_find(&b, 'x', 10), 0, "nothing is found in an empty buffer");
  add(&b, "a\0b\xff", 4);
  tap_int((long long)mb_buf_find(&b, '\0', 10), 2, "NUL is a byte like others");
  tap_int((long long)mb_buf_find(&b, 0xff, 10), 4, "so is 255");
  tap_int((long long)mb_buf_find(&b, 0xff, 3), 0, "not found behind the limit");
  tap_int((long long)mb_buf_find(&b, 0xff, 4), 4,
          "found at the limit, after a search that ended before it");
  tap_int((long long)mb_buf_find(&b, 'b', 4), 3, "another byte is searched from the start");
  mb_buf_take(&b, 2);
  tap_int((long long)mb_buf_find(&b, 'a', 10), 0, "what was taken is not found");
  add(&b, "a", 1);
  tap_int((long long)mb_buf_find(&b, 'a', 10), 3, "what was added is");
  mb_buf_take(&b, 3);
  tap_int((long long)mb_buf_len(&b), 0, "all is taken");
  mb_buf_free(&b, &alloc);
}

static void growth(void) {
  struct mb_buf b = MB_BUF_INIT;
  for (int i = 0; i < 1000; i++) add(&b, "0123456789", 10);
  tap_int((long long)mb_buf_len(&b), 10000, "it grows");
  mb_buf_take(&b, 9995);
  tap_bytes(mb_buf_bytes(&b), 5, "56789", 5, "and keeps the bytes");
  size_t capacity = b.capacity;
  add(&b, "x", 1);
  for (int i = 0; i < 10000; i++) {
    add(&b, "0123456789", 10);
    mb_buf_take(&b, 10);
  }
  tap_int((long long)b.capacity, (long long)capacity, "room in front is used before it grows");
  tap_int(mb_buf_reserve(&b, &alloc, SIZE_MAX), -ENOMEM, "a size that overflows is out of memory");
  alloc.limit = alloc.used;
  tap_int(mb_buf_reserve(&b, &alloc, capacity * 2), -ENOMEM, "so is the limit");
  tap_int((long long)mb_buf_len(&b), 6, "the bytes are still there");
  mb_buf_fit(&b, &alloc);
  tap_int((long long)b.capacity, (long long)b.end, "a buffer that fits has no room");
  tap_bytes(mb_buf_bytes(&b), 6, "456789", 6, "and the same bytes");
  mb_buf_cut(&b, 1, 3);
  tap_bytes(mb_buf_bytes(&b), mb_buf_len(&b), "489", 3, "bytes of the middle are taken out");
  tap_int((long long)mb_buf_find(&b, '9', 3), 3, "and what is behind them is found");
  mb_buf_cut(&b, 2, 1);
  tap_bytes(mb_buf_bytes(&b), mb_buf_len(&b), "48", 2, "also at the end");
  mb_buf_take(&b, 2);
  mb_buf_fit(&b, &alloc);
  tap_int((long long)mb_buf_len(&b), 0, "an empty one stays as it is");
  alloc.limit = 0;
  mb_buf_free(&b, &alloc);
  tap_int((long long)alloc.used, 0, "all memory is given back");
}

int main(void) {
  every_split();
  search();
  growth();
  return tap_done();
}
