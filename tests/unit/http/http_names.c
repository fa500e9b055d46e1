/* src/http/http_names.c: names and values are counted, those that a client can make collide with limits of their
 * own. */
#include "http/http_names.h"

#include "../../lib/tap.h"

/* Returns how many names of this size are within the limits. The first one is new, and the others may be. */
static int most(size_t size, bool are_new) {
  struct mb_http_names names = MB_HTTP_NAMES_INIT;
  bool is_new = true;
  int count = 0;
  for (; count < 20000 && mb_http_names_add(&names, size, is_new); count++) is_new = are_new;
  return count;
}

/* Returns how many values are within the limits that have digits from a place on, at every other byte. */
static int most_values(size_t place) {
  struct mb_http_names names = MB_HTTP_NAMES_INIT;
  char text[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"; /* 36 bytes */
  int count = 0;
  for (; count < 30000; count++) {
    for (int i = 0, left = count; i < 5; i++, left /= 10)
      text[place + 2 * (size_t)i] = (char)('0' + left % 10);
    if (!mb_http_names_value(&names, (struct mb_span){text, 36})) break;
  }
  return count;
}

static void values(void) {
  /* Lua's hash looks at the last byte, the last but two, and so on. */
  tap_int(most_values(0), 1000, "values that differ only where the hash does not look");
  tap_int(most_values(1), 30000, "values that differ where it looks");
  tap_ok(!mb_http_names_counts(31, false) && mb_http_names_counts(32, false) &&
             mb_http_names_counts(40, false) && !mb_http_names_counts(41, false),
         "values of 32 to 40 bytes are counted");
  tap_ok(!mb_http_names_counts(31, true) && mb_http_names_counts(32, true) &&
             mb_http_names_counts((size_t)-1, true),
         "keys of 32 bytes and more are counted");
}

int main(void) {
  values();
  struct mb_http_names names = MB_HTTP_NAMES_INIT;
  tap_int(most(0, true), 10000, "names, empty ones too");
  tap_int(most(31, true), 10000, "of all of whose bytes Lua's hash depends");
  tap_int(most(32, true), 1000, "of whose bytes it skips some");
  tap_int(most((size_t)-1, true), 1000, "very long ones");
  tap_int(most(32, false), 10000, "one name, again and again");
  for (int i = 0; i < 1000; i++) mb_http_names_add(&names, 32, true);
  tap_ok(mb_http_names_add(&names, 31, true), "short names beside as many long ones as may be");
  tap_ok(mb_http_names_add(&names, 32, false), "a long one that was there before");
  tap_ok(!mb_http_names_add(&names, 32, true), "no other one");
  return tap_done();
}
