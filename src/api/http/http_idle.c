/*
 * Waits for another request. A process of a pool tells the others that nothing is lost when it ends now, and ends the
 * connection when it is told to.
 */
#include "api/http/http_idle.h"

#include <errno.h>
#include <lauxlib.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "api/http/http_input.h"
#include "base/drain.h"
#include "base/fdio.h"
#include "base/kept.h"
#include "socket/handle.h"

/*
 * A client that was silent for so long has most likely no request on its way: after a response, and after the beginning
 * of its connection, as browsers make some to have them.
 */
#define SILENT_USEC       100000
#define SILENT_FIRST_USEC 1000000

/*
 * Waits once. more: what is there is not enough. Sets *drains when the process is told to end; it is not told again.
 * Returns 1 when input has come or ended, 0 when something else may have, or -errno.
 */
static int wait_once(struct mb_handle *h, bool more, bool *drains, int64_t deadline) {
  struct mb_interest interest = mb_handle_interest(h, POLLIN, more);
  if (interest.ready) return 1;
  struct pollfd fds[3];
  memcpy(fds, interest.fds, sizeof interest.fds);
  bool asks = !*drains && mb_drain_fd() >= 0;
  if (asks) fds[interest.count] = (struct pollfd){.fd = mb_drain_fd(), .events = POLLIN};
  int r = mb_fd_poll_once(fds, (size_t)interest.count + asks, deadline);
  if (r < 0) return r == -EINTR ? 0 : r;
  if (asks && fds[interest.count].revents) *drains = true;
  return mb_handle_ready(h, &interest, fds) ? 1 : 0;
}

/*
 * Waits for a request. When the process is to end, it waits until the client was silent for so long.
 * Returns 1, 0 at the deadline or when the process is to end, or -errno.
 */
static int await(struct mb_handle *h, bool more, int64_t silent, int64_t deadline) {
  int64_t began = mb_now_usec();
  bool drains = false;
  for (;;) {
    if (!drains && mb_drain_begun()) drains = true;
    if (drains && began + silent < deadline) deadline = began + silent;
    int r = wait_once(h, more, &drains, deadline);
    if (r != 0) return r;
    if (mb_now_usec() >= deadline) return 0;
  }
}

bool mb_http_hand_over(struct mb_handle *h) {
  const struct mb_kept_taker *taker = mb_kept_wanted();
  char byte;
  if (!taker || recv(mb_handle_fd(h), &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 1) return false;
  struct mb_addr client = h->remote;
  int fd = mb_handle_detach(h);
  if (fd >= 0) taker->take(fd, &client);
  return fd >= 0;
}

int mb_http_input_await(lua_State *L) {
  struct mb_handle *h = mb_http_input_at(L, 1)->handle;
  lua_Number seconds = luaL_checknumber(L, 2);
  int64_t deadline =
      seconds > MB_SECONDS_MAX ? MB_NO_DEADLINE : mb_now_usec() + mb_usec_of(seconds);
  int r;
  bool more = h->in_short; /* a head has begun, or only line ends have come */
  h->in_short = false;
  bool first = lua_toboolean(L, 3);
  /* Where a head has begun, the client is not silent. */
  bool is_kept = !first || mb_buf_len(&h->in) == 0;
  int64_t silent = first ? SILENT_FIRST_USEC : SILENT_USEC;
  if (is_kept) mb_kept_set(silent);
  r = await(h, more, silent, deadline);
  if (is_kept) mb_kept_set(0);
  if (!first && r > 0 && mb_http_hand_over(h)) r = 0;
  if (r < 0) return luaL_error(L, "http: poll: %s", strerror(-r));
  lua_pushboolean(L, r > 0);
  return 1;
}
