/* src/http/http_names.c: names are counted, those that a client can make collide with a limit of their own. */
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

int main(void) {
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
