/* mb.http_server.detach: gives the descriptor of a connection to another library. */
#include "api/http/http_server_detach.h"

#include <errno.h>
#include <lauxlib.h>

#include "socket/handle.h"

/*
 * detach(socket)
 * Returns the descriptor, which the caller owns from then on and has to close. The socket object is closed.
 * Throws when bytes would be lost, or when the handle has no socket (a replay, a pipe).
 */
static int detach(lua_State *L) {
  struct mb_handle *h = mb_handle_at(L, 1);
  mb_handle_check_output(L, h);
  int fd = mb_handle_detach(h);
  if (fd >= 0) {
    lua_pushinteger(L, fd);
    return 1;
  }
  return luaL_error(L, "detach: %s",
                    fd == -EEXIST   ? "the socket has received something that would be lost"
                    : fd == -EAGAIN ? "the socket has output that was not sent: flush it first"
                                    : "there is no socket: it is a replay or a pipe");
}

int mb_http_server_detach_open(lua_State *L) {
  lua_pushcfunction(L, detach);
  return 1;
}
