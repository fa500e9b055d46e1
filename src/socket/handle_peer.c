/* socket:is_closed_by_peer and its like, which find out whether somebody is still there, and take no input for it. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/fdio.h"
#include "socket/handle_methods.h"

int mb_handle_await_end(struct mb_handle *h, int other, int64_t deadline) {
  if (!mb_handle_is_open(h) || h->in_eof || h->in_error || h->out_error) return MB_PEER_ENDED;
  /* The end of a file or a pipe cannot be told from input that waits. */
  bool tells = mb_handle_is_socket(h) && !h->attempt;
  struct pollfd fds[] = {{.fd = tells ? mb_handle_fd(h) : -1, .events = POLLRDHUP},
                         {.fd = other, .events = POLLIN}};
  int r = mb_fd_poll_once(fds, 2, deadline);
  if (r < 0) return r;
  if (fds[0].revents & POLLNVAL) return -EBADF;
  if (fds[0].revents & (POLLRDHUP | POLLHUP | POLLERR)) return MB_PEER_ENDED;
  return fds[1].revents ? MB_OTHER_READY : 0;
}

/* Returns whether the peer has ended its output or the connection; waits for that until the deadline. */
static bool is_closed(lua_State *L, struct mb_handle *h, int64_t deadline) {
  for (;;) {
    int r = mb_handle_await_end(h, -1, deadline);
    if (r < 0 && r != -EINTR) luaL_error(L, "is_closed_by_peer: %s", strerror(-r));
    if (r == MB_PEER_ENDED) return true;
    if (deadline != MB_NO_DEADLINE && mb_now_usec() >= deadline) return false;
  }
}

/*
 * socket:is_closed_by_peer([seconds])
 * Returns whether the peer has ended its output, or the connection is lost; input that has come before stays to be read.
 * Waits at most `seconds` for that. A peer that has ended its output may still read.
 */
static int method_is_closed_by_peer(lua_State *L) {
  struct mb_handle *h = mb_handle_at(L, 1);
  lua_Number seconds = luaL_optnumber(L, 2, 0);
  luaL_argcheck(L, seconds >= 0, 2, "expected a number of seconds, 0 or more");
  int64_t deadline =
      seconds > MB_SECONDS_MAX ? MB_NO_DEADLINE : mb_now_usec() + mb_usec_of(seconds);
  lua_pushboolean(L, is_closed(L, h, deadline));
  return 1;
}

const luaL_Reg mb_handle_peer_methods[] = {
    {"is_closed_by_peer", method_is_closed_by_peer},
    {NULL, NULL},
};
