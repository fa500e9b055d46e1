/* Connecting and listening. With --style, the one connection stands in for a listener: socket/standin.h. */
#include <errno.h>
#include <lauxlib.h>

#include "api/tarantool/tarantool_address.h"
#include "api/tarantool/tarantool_errno.h"
#include "api/tarantool/tarantool_socket.h"
#include "base/rare.h"
#include "base/refused.h"
#include "socket/standin.h"
#include "state/state.h"

/* ---- connecting ---- */

/*
 * s:connect(host, port)
 * Starts to connect. Returns true; or nil, errno: EINPROGRESS while the attempt is undecided.
 */
int mb_tarantool_method_connect(lua_State *L) {
  struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  struct mb_addr addr;
  if (s->handle) return mb_tarantool_push_error(L, -EISCONN);
  int r = mb_tarantool_check_address(L, 2, s->domain, &addr);
  if (r < 0) return mb_tarantool_push_error(L, r);
  do {
    r = connect(s->fd, &addr.any, addr.len) == 0 ? 0 : -errno;
  } while (r == -EINTR);
  mb_refused(-r, MB_REFUSED_TCP, NULL, (unsigned)mb_addr_port(&addr));
  return mb_tarantool_push_outcome(L, r);
}

/* s:connected(): returns true when the attempt to connect has succeeded; or nil, errno. */
int mb_tarantool_method_connected(lua_State *L) {
  const struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  struct mb_addr remote;
  int error = 0;
  socklen_t len = sizeof error;
  if (getsockopt(mb_tarantool_descriptor(s), SOL_SOCKET, SO_ERROR, &error, &len) != 0)
    return mb_tarantool_push_error(L, -errno);
  if (error) return mb_tarantool_push_error(L, -error);
  remote.len = sizeof remote.storage;
  int r = getpeername(s->fd, &remote.any, &remote.len) == 0 ? 0 : -errno;
  return mb_tarantool_push_outcome(L, r == -ENOTCONN ? -EINPROGRESS : r);
}

/* ---- listening ---- */

/*
 * Returns whether a program may bind a stream socket to the address in order to connect from there. With
 * --style, only the call of listen shows whether the socket is for a listener.
 */
static bool may_be_client(const struct mb_addr *addr) {
  return addr->any.sa_family != AF_UNIX && mb_addr_port(addr) == 0;
}

/*
 * s:bind(host, port)
 * Returns true; or nil, errno, and a message if the number does not tell enough.
 */
int mb_tarantool_method_bind(lua_State *L) {
  struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  struct mb_addr addr;
  if (s->handle || s->pretended) return mb_tarantool_push_error(L, -EINVAL);
  int r = mb_tarantool_check_address(L, 2, s->domain, &addr);
  if (r < 0) return mb_tarantool_push_error(L, r);
  char message[MB_STANDIN_MESSAGE_MAX];
  bool is_listener = mb_standin_active() && s->type == SOCK_STREAM;
  if (is_listener && mb_standin_claims(&addr, message)) {
    mb_standin_bound(&addr, &s->bound);
    s->pretended = true;
    return mb_tarantool_push_outcome(L, 0);
  }
  if (is_listener && !may_be_client(&addr)) return mb_tarantool_push_refusal(L, message);
  return mb_tarantool_push_outcome(L, MB_RARE(bind)(s->fd, &addr.any, addr.len) == 0 ? 0 : -errno);
}

/* Returns whether a local address means that the socket is not bound yet. */
static bool is_unbound(const struct mb_addr *local) {
  char path[sizeof local->local.sun_path + 1];
  return local->any.sa_family == AF_UNIX ? mb_addr_path(local, path) == 0
                                         : mb_addr_port(local) == 0;
}

/* s:listen(backlog): returns the same as bind. */
int mb_tarantool_method_listen(lua_State *L) {
  const struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  lua_Integer backlog = luaL_optinteger(L, 2, SOMAXCONN);
  if (backlog < 0 || backlog > SOMAXCONN) backlog = SOMAXCONN;
  if (s->pretended) return mb_tarantool_push_outcome(L, 0);
  if (s->handle) return mb_tarantool_push_error(L, -EINVAL);
  char message[MB_STANDIN_MESSAGE_MAX];
  struct mb_addr local = {.len = sizeof local.storage};
  if (mb_standin_active() && getsockname(s->fd, &local.any, &local.len) == 0 &&
      !is_unbound(&local) && !mb_standin_claims(&local, message))
    return mb_tarantool_push_refusal(L, message);
  return mb_tarantool_push_outcome(L, MB_RARE(listen)(s->fd, (int)backlog) == 0 ? 0 : -errno);
}

static int accept_pretended(lua_State *L) {
  if (!mb_standin_take(L)) return mb_tarantool_push_error(L, -EAGAIN);
  struct mb_tarantool_socket *accepted = mb_tarantool_push_new(L);
  mb_tarantool_set_handle(L, accepted, lua_gettop(L) - 1, true);
  return 1;
}

/* s:accept(): returns an object; or nil, errno. Skips a client that has already gone. */
int mb_tarantool_method_accept(lua_State *L) {
  const struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  if (s->pretended) return accept_pretended(L);
  if (s->handle) return mb_tarantool_push_error(L, -EINVAL);
  struct mb_tarantool_socket *accepted = mb_tarantool_push_new(L);
  if (s->closed) return mb_tarantool_push_error(L, -EBADF); /* a finalizer has closed it */
  int fd;
  do {
    fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  } while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
  if (fd < 0 && mb_state_made_room(L, -errno))
    fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return mb_tarantool_push_error(L, -errno);
  mb_tarantool_set_descriptor(accepted, fd);
  return 1;
}
