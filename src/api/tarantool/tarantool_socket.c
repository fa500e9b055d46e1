/* The life, options and addresses of the descriptors below mb.tarantool's socket objects. */
#include "api/tarantool/tarantool_socket.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>
#include <unistd.h>

#include "api/tarantool/tarantool_address.h"
#include "api/tarantool/tarantool_errno.h"
#include "api/tarantool/tarantool_names.h"
#include "api/tarantool/tarantool_options.h"
#include "base/refused.h"
#include "socket/handle_methods.h"
#include "socket/standin.h"
#include "state/state.h"

#define TYPE "mb.tarantool.socket"

#define LINGER_MAX_SECONDS 32767 /* fits into the system's type everywhere */

struct mb_tarantool_socket *mb_tarantool_push_new(lua_State *L) {
  struct mb_tarantool_socket *s = lua_newuserdata(L, sizeof *s);
  memset(s, 0, sizeof *s);
  s->fd = -1;
  s->rbuf = MB_BUF_INIT;
  s->alloc = mb_state_alloc(L);
  luaL_setmetatable(L, TYPE);
  return s;
}

struct mb_tarantool_socket *mb_tarantool_check_socket(lua_State *L) {
  struct mb_tarantool_socket *s = luaL_checkudata(L, 1, TYPE);
  if (s->closed || (s->handle && !mb_handle_is_open(s->handle)))
    luaL_error(L, "attempt to use closed socket");
  return s;
}

int mb_tarantool_descriptor(const struct mb_tarantool_socket *s) {
  if (!s->handle) return s->fd;
  return mb_handle_is_replay(s->handle) ? -1 : mb_handle_fd(s->handle);
}

/* ---- life ---- */

void mb_tarantool_set_descriptor(struct mb_tarantool_socket *s, int fd) {
  socklen_t len = sizeof s->domain;
  s->fd = fd;
  mb_alloc_note(s->alloc, &s->holds, true);
  getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &s->domain, &len);
  len = sizeof s->type;
  getsockopt(fd, SOL_SOCKET, SO_TYPE, &s->type, &len);
  len = sizeof s->protocol;
  getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &s->protocol, &len);
}

int mb_tarantool_socket_new(lua_State *L) {
  int domain, type, protocol;
  if (mb_tarantool_check_number(L, 1, mb_tarantool_families, &domain) < 0)
    return mb_tarantool_push_error(L, -EAFNOSUPPORT);
  if (mb_tarantool_check_number(L, 2, mb_tarantool_types, &type) < 0)
    return mb_tarantool_push_error(L, -ESOCKTNOSUPPORT);
  if (mb_tarantool_check_protocol(L, 3, &protocol) < 0)
    return mb_tarantool_push_error(L, -EPROTONOSUPPORT);
  struct mb_tarantool_socket *s = mb_tarantool_push_new(L);
  int fd = socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  if (fd < 0 && mb_state_made_room(L, -errno))
    fd = socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  if (fd < 0) {
    int number = errno;
    mb_refused(number, MB_REFUSED_SOCKET, NULL, 0);
    return mb_tarantool_push_error(L, -number);
  }
  mb_tarantool_set_descriptor(s, fd);
  return 1;
}

void mb_tarantool_set_handle(lua_State *L, struct mb_tarantool_socket *s, int index, bool owner) {
  struct mb_handle *h = mb_handle_at(L, index);
  lua_pushvalue(L, index);
  lua_setuservalue(L, -2);
  mb_handle_set_nodelay(h); /* as socket:flush does; the script may change it */
  s->handle = h;
  s->owner = owner;
  s->type = SOCK_STREAM;
  s->domain = h->local.len ? h->local.any.sa_family : AF_UNSPEC;
  s->protocol = mb_handle_is_tcp(h) ? IPPROTO_TCP : 0;
}

int mb_tarantool_socket_wrap(lua_State *L) {
  mb_handle_check_open(L, mb_handle_at(L, 1));
  bool owner = lua_toboolean(L, 2);
  mb_tarantool_set_handle(L, mb_tarantool_push_new(L), 1, owner);
  return 1;
}

static int close_handle(struct mb_tarantool_socket *s) {
  if (!mb_handle_is_open(s->handle)) return 0;
  if (s->linger.l_onoff && s->linger.l_linger == 0) {
    mb_handle_reset(s->handle); /* the script has asked for it */
    return 0;
  }
  return mb_handle_close(s->handle);
}

static int close_socket(struct mb_tarantool_socket *s) {
  int r = 0;
  if (s->handle && s->owner) r = close_handle(s);
  if (s->fd >= 0 && close(s->fd) != 0 && errno != EINTR) r = -errno;
  s->fd = -1;
  s->closed = true;
  mb_alloc_note(s->alloc, &s->holds, false);
  mb_buf_free(&s->rbuf, s->alloc);
  return r;
}

/* s:close(): returns true; or nil, errno: EBADF when the object is closed already. */
static int method_close(lua_State *L) {
  struct mb_tarantool_socket *s = luaL_checkudata(L, 1, TYPE);
  if (s->closed) return mb_tarantool_push_error(L, -EBADF);
  s->owner = true; /* a wrapped socket is closed by this call, but not as garbage */
  return mb_tarantool_push_outcome(L, close_socket(s));
}

static int socket_gc(lua_State *L) {
  close_socket(luaL_checkudata(L, 1, TYPE));
  return 0;
}

static int method_is_closed(lua_State *L) {
  const struct mb_tarantool_socket *s = luaL_checkudata(L, 1, TYPE);
  lua_pushboolean(L, s->closed || (s->handle && !mb_handle_is_open(s->handle)));
  return 1;
}

/* s:is_stream(): returns whether data passes as a stream, and not as messages. */
static int method_is_stream(lua_State *L) {
  lua_pushboolean(L, mb_tarantool_check_socket(L)->type == SOCK_STREAM);
  return 1;
}

/* s:is_pretended(): returns whether the object is a listener that --style only pretends. */
static int method_is_pretended(lua_State *L) {
  const struct mb_tarantool_socket *s = luaL_checkudata(L, 1, TYPE);
  lua_pushboolean(L, s->pretended);
  return 1;
}

/* s:fd(): returns the number of the descriptor; that of the connection for a pretended listener. */
static int method_fd(lua_State *L) {
  struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  if (s->handle) mb_handle_keep_no_byte(s->handle); /* the program may wait there by itself */
  lua_pushinteger(L, s->pretended ? mb_standin_fd() : s->handle ? mb_handle_fd(s->handle) : s->fd);
  return 1;
}

/* s:waitable(): returns the object that mb.scheduler waits for: the handle, or the descriptor. */
static int method_waitable(lua_State *L) {
  const struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  if (s->handle) {
    lua_getuservalue(L, 1);
  } else {
    lua_pushinteger(L, s->fd);
  }
  return 1;
}

/* ---- shutdown and linger ---- */

static int shut_handle(struct mb_tarantool_socket *s, int how) {
  struct mb_handle *h = s->handle;
  int r = 0;
  if (how != SHUT_RD && !s->output_shut) {
    r = mb_handle_send_queue(h, true);
    if (r == 0 && h->state == MB_HANDLE_OPEN) r = mb_handle_end_output(h);
    s->output_shut = true;
  }
  if (how != SHUT_WR) {
    if (mb_handle_is_replay(h)) s->input_shut = true;
    int ended = mb_handle_end_input(h);
    /* ENOTCONN: the client has gone, so there is nothing left to shut. */
    if (ended < 0 && ended != -ENOTCONN && r == 0) r = ended;
  }
  return r;
}

/* s:shutdown(how): how is a name or a number; nil means both directions. Returns true; or nil, errno. */
static int method_shutdown(lua_State *L) {
  struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  int how = SHUT_RDWR;
  if (!lua_isnoneornil(L, 2)) {
    if (mb_tarantool_check_number(L, 2, mb_tarantool_directions, &how) < 0)
      return mb_tarantool_push_error(L, -EINVAL);
  }
  if (how < SHUT_RD || how > SHUT_RDWR) return mb_tarantool_push_error(L, -EINVAL);
  if (s->handle) return mb_tarantool_push_outcome(L, shut_handle(s, how));
  return mb_tarantool_push_outcome(L, shutdown(s->fd, how) == 0 ? 0 : -errno);
}

/* s:linger([active, seconds]): sets both, if given. Returns both; or nil, errno. */
static int method_linger(lua_State *L) {
  struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  struct linger linger = s->linger;
  socklen_t len = sizeof linger;
  if (!s->handle && getsockopt(s->fd, SOL_SOCKET, SO_LINGER, &linger, &len) != 0)
    return mb_tarantool_push_error(L, -errno);
  if (!lua_isnoneornil(L, 2)) {
    linger.l_onoff = lua_isnumber(L, 2) ? lua_tonumber(L, 2) != 0 : lua_toboolean(L, 2);
    lua_Number seconds = luaL_optnumber(L, 3, 0);
    luaL_argcheck(L, seconds >= 0 && seconds <= LINGER_MAX_SECONDS, 3,
                  "expected 0 to 32767 seconds");
    linger.l_linger = (int)seconds;
    if (s->handle) {
      /* Like the system, it keeps the seconds when linger is turned off. */
      if (linger.l_onoff) s->linger.l_linger = linger.l_linger;
      s->linger.l_onoff = linger.l_onoff;
    } else if (setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) != 0) {
      return mb_tarantool_push_error(L, -errno);
    }
  }
  lua_pushboolean(L, linger.l_onoff);
  lua_pushinteger(L, linger.l_linger);
  return 2;
}

/* ---- options and addresses ---- */

/* s:setsockopt(level, name, value): returns true; or nil, errno. */
static int method_setsockopt(lua_State *L) {
  const struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  return mb_tarantool_push_outcome(L, mb_tarantool_setsockopt(L, 2, mb_tarantool_descriptor(s)));
}

/* s:getsockopt(level, name): returns the value; or nil, errno. */
static int method_getsockopt(lua_State *L) {
  const struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  int r = mb_tarantool_getsockopt(L, 2, mb_tarantool_descriptor(s));
  return r < 0 ? mb_tarantool_push_error(L, r) : 1;
}

typedef int name_function(int fd, struct sockaddr *addr, socklen_t *len);

static int push_address(lua_State *L, const struct mb_tarantool_socket *s, name_function *ask,
                        const struct mb_addr *known) {
  struct mb_addr addr;
  if (known) {
    addr = *known;
    if (addr.len == 0) return mb_tarantool_push_error(L, -ENOTCONN);
  } else {
    memset(&addr, 0, sizeof addr);
    addr.len = sizeof addr.storage;
    if (ask(s->fd, &addr.any, &addr.len) != 0) return mb_tarantool_push_error(L, -errno);
  }
  mb_tarantool_push_address(L, &addr, s->handle != NULL);
  mb_tarantool_set_kind(L, s->type, s->protocol);
  return 1;
}

/* s:name(): returns the local address, a table; or nil, errno. */
static int method_name(lua_State *L) {
  const struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  const struct mb_addr *known = s->pretended ? &s->bound : s->handle ? &s->handle->local : NULL;
  return push_address(L, s, getsockname, known);
}

/* s:peer(): returns the peer's address, a table; or nil, errno. */
static int method_peer(lua_State *L) {
  const struct mb_tarantool_socket *s = mb_tarantool_check_socket(L);
  return push_address(L, s, getpeername, s->handle ? &s->handle->remote : NULL);
}

/* ---- the type ---- */

static const luaL_Reg methods[] = {
    {"accept", mb_tarantool_method_accept},
    {"bind", mb_tarantool_method_bind},
    {"buffered", mb_tarantool_method_buffered},
    {"close", method_close},
    {"connect", mb_tarantool_method_connect},
    {"connected", mb_tarantool_method_connected},
    {"fd", method_fd},
    {"fill", mb_tarantool_method_fill},
    {"find", mb_tarantool_method_find},
    {"getsockopt", method_getsockopt},
    {"is_closed", method_is_closed},
    {"is_pretended", method_is_pretended},
    {"is_stream", method_is_stream},
    {"linger", method_linger},
    {"listen", mb_tarantool_method_listen},
    {"name", method_name},
    {"peer", method_peer},
    {"read", mb_tarantool_method_read},
    {"recv", mb_tarantool_method_recv},
    {"recvfrom", mb_tarantool_method_recvfrom},
    {"send", mb_tarantool_method_send},
    {"sendto", mb_tarantool_method_sendto},
    {"setsockopt", method_setsockopt},
    {"shutdown", method_shutdown},
    {"take", mb_tarantool_method_take},
    {"waitable", method_waitable},
    {"write", mb_tarantool_method_write},
    {NULL, NULL},
};

void mb_tarantool_socket_open(lua_State *L) {
  if (luaL_newmetatable(L, TYPE)) {
    lua_pushcfunction(L, socket_gc);
    lua_setfield(L, -2, "__gc");
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
  }
  lua_pop(L, 1);
}
