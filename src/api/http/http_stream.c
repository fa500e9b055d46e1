/* The waits of a response that goes on as things happen, for mb.events. Takes no input. */
#include "api/http/http_stream.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/drain.h"
#include "socket/handle_methods.h"

int mb_http_stream_ends(lua_State *L) {
  struct mb_handle *h = mb_handle_at(L, 1);
  lua_Number seconds = luaL_checknumber(L, 2);
  int64_t deadline =
      seconds > MB_SECONDS_MAX ? MB_NO_DEADLINE : mb_now_usec() + mb_usec_of(seconds);
  bool ends = false;
  for (;;) {
    ends = mb_drain_begun();
    if (ends) break;
    int r = mb_handle_await_end(h, mb_drain_fd(), deadline);
    if (r < 0 && r != -EINTR) return luaL_error(L, "stream: poll: %s", strerror(-r));
    ends = r > 0;
    if (ends || (deadline != MB_NO_DEADLINE && mb_now_usec() >= deadline)) break;
  }
  lua_pushboolean(L, ends);
  return 1;
}
