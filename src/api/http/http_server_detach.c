/* mb.http_server.detach, mb.http_server.adopt: hand connections over to another library, and take them from one. */
#include "api/http/http_server_detach.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <string.h>

#include "base/fdio.h"
#include "socket/handle.h"
#include "state/io_args.h"
#include "state/state.h"

/* Pushes the bytes that the handle has received and nobody has read, and takes them out of it. */
static void push_unread(lua_State *L, struct mb_handle *h) {
  /* Takes them first: pushing may run the script's finalizers, and those may read. */
  size_t len = mb_buf_len(&h->in);
  const char *bytes = mb_buf_bytes(&h->in);
  mb_buf_take(&h->in, len);
  lua_pushlstring(L, bytes, len);
  mb_handle_check_output(L, h);
}

/*
 * detach(socket, unread)
 * Returns the descriptor, which the caller owns from then on and has to close. The socket object is closed.
 * unread  true: returns also what was received and not read, for the caller to read first
 * Throws when bytes would be lost, or when the handle has no socket (a replay, a pipe).
 */
static int detach(lua_State *L) {
  struct mb_handle *h = mb_handle_at(L, 1);
  bool unread = lua_toboolean(L, 2);
  lua_settop(L, 1);
  mb_handle_check_output(L, h);
  if (unread && mb_handle_is_socket(h)) push_unread(L, h);
  int fd = mb_handle_detach(h);
  if (fd >= 0) {
    lua_pushinteger(L, fd);
    if (!unread) return 1;
    lua_insert(L, 2);
    return 2;
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

/* Puts bytes where the handle reads first. Throws when memory runs out. */
static void put_unread(lua_State *L, struct mb_handle *h, const char *bytes, size_t len) {
  if (len == 0) return;
  mb_state_reserve(L, &h->in, len);
  size_t room;
  memcpy(mb_buf_room(&h->in, &room), bytes, len);
  mb_buf_added(&h->in, len);
  h->received = len;
}

/*
 * adopt(fd, unread)
 * fd      a connection of another library, which keeps this descriptor, and closes it when it likes
 * unread  the bytes that the library has received and nobody has read
 * Returns a socket object with a descriptor of its own for the same connection; or nil, message, errno.
 */
static int adopt(lua_State *L) {
  int theirs = (int)luaL_checkinteger(L, 1);
  size_t len;
  const char *unread = luaL_optlstring(L, 2, "", &len);
  struct mb_handle *h = mb_handle_new(L);
  put_unread(L, h, unread, len);
  int type;
  socklen_t type_len = sizeof type;
  if (getsockopt(theirs, SOL_SOCKET, SO_TYPE, &type, &type_len) != 0)
    return mb_io_push_error(L, "the socket", -errno);
  if (type != SOCK_STREAM) return mb_io_push_error(L, "the socket", -EPROTOTYPE);
  struct mb_addr local = {.len = sizeof local.storage}, remote = {.len = sizeof remote.storage};
  if (getpeername(theirs, &remote.any, &remote.len) != 0)
    return mb_io_push_error(L, "the socket", -errno);
  int fd = fcntl(theirs, F_DUPFD_CLOEXEC, 3);
  if (fd < 0 && mb_state_made_room(L, -errno)) fd = fcntl(theirs, F_DUPFD_CLOEXEC, 3);
  if (fd < 0) return mb_io_push_error(L, "the socket", -errno);
  enum mb_fd_kind kind = mb_fd_kind_of(fd);
  mb_fd_set_reset_on_close(fd, kind, true);
  mb_handle_attach(h, mb_channel_of(fd, fd, kind));
  if (getsockname(fd, &local.any, &local.len) == 0) h->local = local;
  h->remote = remote;
  return 1;
}

int mb_http_server_adopt_open(lua_State *L) {
  lua_pushcfunction(L, adopt);
  return 1;
}
