/* moonbridge_io.tcplisten and locallisten, and the listener that they return. */
#include "socket/listener_object.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/listener.h"
#include "base/rare.h"
#include "socket/handle.h"
#include "state/io_args.h"
#include "state/object.h"
#include "state/state.h"

#define TYPE "moonbridge_io.listener"

struct listener {
  int fd;     /* -1: closed */
  bool holds; /* see mb_alloc_note */
  enum mb_fd_kind kind;
  struct mb_addr local;
};

static struct listener *check_open(lua_State *L, int index) {
  struct listener *l = luaL_checkudata(L, index, TYPE);
  if (l->fd < 0) luaL_error(L, "the listener is closed");
  return l;
}

int mb_listener_object_fd(lua_State *L, int index) {
  return luaL_testudata(L, index, TYPE) ? check_open(L, index)->fd : -1;
}

static int push_error(lua_State *L, const struct listener *l, int r) {
  char label[MB_ADDR_LABEL_MAX];
  mb_addr_label(&l->local, label);
  return mb_io_push_error(L, label, r);
}

static int push_none(lua_State *L) {
  lua_pushboolean(L, 0);
  lua_pushliteral(L, "no incoming connection");
  return 2;
}

static int accept_connection(lua_State *L, bool wait) {
  struct mb_handle *h = mb_handle_new(L);
  const struct listener *l = check_open(L, 1); /* only now: a finalizer may have closed it */
  struct mb_addr local, remote;
  int fd = mb_listener_accept(l->fd, wait, &remote);
  if (mb_state_made_room(L, fd)) fd = mb_listener_accept(check_open(L, 1)->fd, wait, &remote);
  if (fd == -EAGAIN) return push_none(L);
  if (fd < 0) return push_error(L, l, fd);
  mb_fd_set_reset_on_close(fd, l->kind, true);
  mb_handle_attach(h, mb_channel_of(fd, fd, l->kind));
  /* Asks the connection for its local address: the listener's may stand for all interfaces. */
  local.len = sizeof local.storage;
  if (getsockname(fd, &local.any, &local.len) == 0) h->local = local;
  h->remote = remote;
  return 1;
}

/*
 * listener:accept()
 * Waits for a connection. Returns a socket; or nil, message, errno.
 */
static int method_accept(lua_State *L) {
  check_open(L, 1);
  return accept_connection(L, true);
}

/*
 * listener:accept_nb()
 * Works as accept, but does not wait: returns false and a notice when there is no connection.
 */
static int method_accept_nb(lua_State *L) {
  const struct listener *l = check_open(L, 1);
  int r = mb_fd_poll(l->fd, POLLIN, 0); /* first: polling in a loop should make no garbage */
  if (r < 0) return push_error(L, l, r);
  return r > 0 ? accept_connection(L, false) : push_none(L);
}

/*
 * listener:close()
 * Leaves the file of a Unix socket where it is. Returns true. Throws when the listener is closed.
 */
static int method_close(lua_State *L) {
  struct listener *l = check_open(L, 1);
  close(l->fd);
  l->fd = -1;
  mb_alloc_note(mb_state_alloc(L), &l->holds, false);
  lua_pushboolean(L, 1);
  return 1;
}

static int listener_gc(lua_State *L) {
  struct listener *l = luaL_checkudata(L, 1, TYPE);
  if (l->fd >= 0) close(l->fd);
  l->fd = -1;
  mb_alloc_note(mb_state_alloc(L), &l->holds, false);
  return 0;
}

static int listener_tostring(lua_State *L) {
  const struct listener *l = luaL_checkudata(L, 1, TYPE);
  char label[MB_ADDR_LABEL_MAX];
  mb_addr_label(&l->local, label);
  lua_pushfstring(L, "listener (%s)", l->fd < 0 ? "closed" : label);
  return 1;
}

static const struct mb_addr *local_of(const void *object) {
  return &((const struct listener *)object)->local;
}

static void local_ip4(lua_State *L, const void *o) { mb_object_push_ip4(L, local_of(o)); }
static void local_ip6(lua_State *L, const void *o) { mb_object_push_ip6(L, local_of(o)); }
static void local_tcpport(lua_State *L, const void *o) { mb_object_push_port(L, local_of(o)); }
static void local_addr(lua_State *L, const void *o) { mb_object_push_text(L, local_of(o)); }

static void fd(lua_State *L, const void *o) {
  mb_object_push_fd(L, ((const struct listener *)o)->fd);
}

static const struct mb_attribute attributes[] = {
    {"fd", fd},
    {"local_addr", local_addr},
    {"local_ip4", local_ip4},
    {"local_ip6", local_ip6},
    {"local_tcpport", local_tcpport},
    {NULL, NULL},
};

static const luaL_Reg rows[] = {
    {"accept", method_accept},
    {"accept_nb", method_accept_nb},
    {"close", method_close},
    {NULL, NULL},
};

static const luaL_Reg *const methods[] = {rows, NULL};

static const struct mb_object_type type = {
    TYPE, "listener", listener_gc, listener_tostring, methods, attributes,
};

/* Pushes a listener that is closed. */
static struct listener *new_listener(lua_State *L) {
  struct listener *l = lua_newuserdata(L, sizeof *l);
  memset(l, 0, sizeof *l);
  l->fd = -1;
  mb_object_push_type(L, &type);
  lua_setmetatable(L, -2);
  return l;
}

static void open_listener(lua_State *L, struct listener *l, int fd, enum mb_fd_kind kind) {
  l->fd = fd;
  mb_alloc_note(mb_state_alloc(L), &l->holds, true);
  l->kind = kind;
  l->local.len = sizeof l->local.storage;
  if (getsockname(fd, &l->local.any, &l->local.len) != 0) l->local.len = 0;
}

/*
 * Looks an endpoint up and listens there; *ret_fd is a descriptor or -errno.
 * Returns 0, or the number of results of a lookup that has failed.
 */
static int listen_at(lua_State *L, const struct mb_io_endpoint *endpoint,
                     const struct mb_listener_options *options, int *ret_fd) {
  struct addrinfo *addresses;
  int results = mb_io_resolve(L, endpoint, true, &addresses);
  if (results > 0) return results;
  *ret_fd = mb_listener_tcp(addresses, options);
  MB_RARE(freeaddrinfo)(addresses);
  return 0;
}

static int listen_tcp(lua_State *L, int index, const struct mb_listener_options *options) {
  struct mb_io_endpoint endpoint;
  mb_io_check_endpoint(L, index, true, &endpoint);
  struct listener *l = new_listener(L);
  int fd;
  int results = listen_at(L, &endpoint, options, &fd);
  if (results == 0 && mb_state_made_room(L, fd)) results = listen_at(L, &endpoint, options, &fd);
  if (results > 0) return results;
  if (fd < 0) return mb_io_push_error(L, endpoint.target, fd);
  open_listener(L, l, fd, MB_FD_TCP);
  return 1;
}

/*
 * moonbridge_io.tcplisten(host, port)
 * Listens at the first address of the host that is available. With port 0 the system picks a free one,
 * and listener.local_tcpport tells it.
 * Returns a listener; or nil, message, and errno or getaddrinfo's (negative) number.
 * Source: reference, "moonbridge_io.tcplisten".
 */
int mb_listener_object_tcplisten(lua_State *L) { return listen_tcp(L, 1, NULL); }

static int listen_local(lua_State *L, int index, const struct mb_listener_options *options) {
  struct mb_addr addr;
  int results = mb_io_check_path(L, index, &addr);
  if (results > 0) return results;
  const char *path = lua_tostring(L, index);
  struct listener *l = new_listener(L);
  int fd = mb_listener_local(&addr, options);
  if (mb_state_made_room(L, fd)) fd = mb_listener_local(&addr, options);
  if (fd == -EEXIST) {
    lua_pushnil(L);
    lua_pushfstring(L, "%s: exists and is %s", path, options ? "a directory" : "not a socket");
    lua_pushinteger(L, EEXIST);
    return 3;
  }
  if (fd < 0) return mb_io_push_error(L, path, fd);
  open_listener(L, l, fd, MB_FD_LOCAL);
  return 1;
}

/*
 * moonbridge_io.locallisten(path)
 * Listens at a Unix socket; removes a socket file that is there already. "@NAME" is an abstract socket.
 * Returns a listener; or nil, message, errno.
 * Source: reference, "moonbridge_io.locallisten".
 */
int mb_listener_object_locallisten(lua_State *L) { return listen_local(L, 1, NULL); }

/* ---- with options ---- */

static bool flag(lua_State *L, const char *name, bool absent) {
  bool set = lua_getfield(L, 1, name) == LUA_TNIL ? absent : lua_toboolean(L, -1);
  lua_pop(L, 1);
  return set;
}

/*
 * Returns the permissions that a field gives as an octal number, such as "0660"; 0 when the field is
 * absent or a boolean.
 */
static int permissions(lua_State *L, const char *name) {
  int value = 0;
  if (lua_getfield(L, 1, name) != LUA_TNIL && !lua_isboolean(L, -1)) {
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    size_t digits = text ? strspn(text, "01234567") : 0;
    if (digits == 0 || digits != len || len > 5) {
      luaL_error(L, "%s: expected permissions as octal digits, such as \"0660\"", name);
    }
    value = (int)strtol(text, NULL, 8) & 0777;
  }
  lua_pop(L, 1);
  return value;
}

/* Returns the family, which the field gives by name or number; 0 when it is absent. */
static int family(lua_State *L) {
  static const struct {
    const char *name;
    int number;
  } families[] = {
      {"AF_INET", AF_INET}, {"AF_INET6", AF_INET6}, {"AF_UNIX", AF_UNIX}, {"AF_UNSPEC", 0}};
  lua_getfield(L, 1, "family");
  const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
  lua_Integer number = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : lua_isnil(L, -1) ? 0 : -1;
  lua_pop(L, 1);
  for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
    if (name ? strcmp(name, families[i].name) == 0 : number == families[i].number)
      return families[i].number;
  }
  return luaL_error(L, "family: expected AF_INET, AF_INET6 or AF_UNIX, by name or number");
}

/* Pushes a listener with a descriptor of its own for what another library, which keeps its own, listens with. */
static int adopt_listener(lua_State *L, int theirs) {
  struct listener *l = new_listener(L);
  int listens = 0;
  socklen_t len = sizeof listens;
  if (getsockopt(theirs, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0)
    return mb_io_push_error(L, "socket", -errno);
  if (!listens) return mb_io_push_error(L, "socket", -EINVAL);
  int fd = fcntl(theirs, F_DUPFD_CLOEXEC, 3);
  if (fd < 0 && mb_state_made_room(L, -errno)) fd = fcntl(theirs, F_DUPFD_CLOEXEC, 3);
  if (fd < 0) return mb_io_push_error(L, "socket", -errno);
  open_listener(L, l, fd, mb_fd_kind_of(fd));
  return 1;
}

/*
 * mb.http_server.listener: listen(options)
 * Listens at host and port, or at path; or with what another library has bound: fd. family, v6only,
 * reuseaddr (on, unless it is false), reuseport, unlink, mode and mask are those of http.server's listen.
 * Returns a listener; or nil, message, and errno or getaddrinfo's (negative) number.
 */
static int listen_with_options(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  if (lua_getfield(L, 1, "fd") != LUA_TNIL) return adopt_listener(L, (int)luaL_checkinteger(L, -1));
  struct mb_listener_options options = {
      .no_reuseaddr = !flag(L, "reuseaddr", true),
      .reuseport = flag(L, "reuseport", false),
      .family = family(L),
      .v6only = flag(L, "v6only", false),
      .keep_file = !flag(L, "unlink", false),
      .any_file = true,
      .mask = permissions(L, "mask"),
      .mode = permissions(L, "mode"),
  };
  lua_settop(L, 1);
  if (lua_getfield(L, 1, "path") != LUA_TNIL) return listen_local(L, 2, &options);
  lua_settop(L, 1);
  lua_getfield(L, 1, "host");
  lua_getfield(L, 1, "port");
  return listen_tcp(L, 2, &options);
}

int mb_listener_object_open(lua_State *L) {
  lua_pushcfunction(L, listen_with_options);
  return 1;
}
