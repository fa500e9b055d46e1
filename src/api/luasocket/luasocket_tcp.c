/* socket.tcp(), bind(), connect() and wrap(); the masters, which bind and connect. */
#include "api/luasocket/luasocket_tcp.h"

#include <errno.h>
#include <lauxlib.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "api/luasocket/luasocket_address.h"
#include "api/luasocket/luasocket_methods.h"
#include "api/luasocket/luasocket_object.h"
#include "api/luasocket/luasocket_server.h"
#include "base/fdio.h"
#include "base/rare.h"
#include "base/refused.h"
#include "socket/standin.h"

/* ---- creating ---- */

/*
 * Pushes a master without a socket. Makes its handle first: finalizers run in the reverse order, and the
 * finalizer of the object, which closes in a healthy way, must run before that of the handle.
 */
static struct mb_luasocket *push_master(lua_State *L, int family) {
  mb_handle_new(L);
  struct mb_luasocket *s = mb_luasocket_new(L, MB_LUASOCKET_MASTER, -1);
  s->family = family;
  s->owns = true;
  return s;
}

static int create(lua_State *L, int family) {
  struct mb_luasocket *s = push_master(L, family);
  if (family == AF_UNSPEC) return 1; /* the address decides later */
  int fd = mb_luasocket_open_socket(L, family);
  if (fd < 0) return mb_luasocket_fail(L, mb_luasocket_strerror(fd));
  s->fd = fd;
  return 1;
}

/* socket.tcp(): returns a master for either family; or nil, message. */
int mb_luasocket_tcp(lua_State *L) { return create(L, AF_UNSPEC); }

/* socket.tcp4(): returns a master for IPv4; or nil, message. */
int mb_luasocket_tcp4(lua_State *L) { return create(L, AF_INET); }

/* socket.tcp6(): returns a master for IPv6; or nil, message. */
int mb_luasocket_tcp6(lua_State *L) { return create(L, AF_INET6); }

/*
 * socket.wrap(socket)
 * Returns a client object for a connect handler's socket, or for any other native socket. The native socket
 * goes on to work, and is not closed when the object is collected.
 */
int mb_luasocket_wrap(lua_State *L) {
  struct mb_handle *h = mb_handle_at(L, 1);
  struct mb_luasocket *s = mb_luasocket_new(L, MB_LUASOCKET_CLIENT, 1);
  s->family = mb_addr_is_pure_ip6(&h->local) ? AF_INET6 : AF_INET;
  return 1;
}

/* ---- bind ---- */

/* Gives the object a socket of a family, unless it has one. Returns 0 or -errno. */
static int ensure_socket(lua_State *L, struct mb_luasocket *s, int family) {
  if (s->fd >= 0 && s->family == family) return 0;
  int fd = mb_luasocket_open_socket(L, family);
  if (fd < 0) return fd;
  if (s->fd >= 0) close(s->fd);
  s->fd = fd;
  s->family = family;
  return 0;
}

static const char *bind_socket(lua_State *L, struct mb_luasocket *s, const struct addrinfo *list) {
  int r = -EADDRNOTAVAIL;
  for (const struct addrinfo *a = list; a; a = a->ai_next) {
    r = ensure_socket(L, s, a->ai_family);
    if (r == 0 && MB_RARE(bind)(s->fd, a->ai_addr, a->ai_addrlen) != 0) r = -errno;
    if (r == 0) return NULL;
  }
  mb_refused(-r, MB_REFUSED_LISTEN, NULL, 0);
  return mb_luasocket_strerror(r);
}

/*
 * Binds a master while a program runs with --style. If an address is where the connection came in, the master
 * stands in for a listener. At another address it has a socket that is not bound: nobody can come there. With
 * port 0 it is bound in truth, as the program may want to connect from there.
 * Returns NULL or a message.
 */
static const char *stand_in(lua_State *L, struct mb_luasocket *s, const struct addrinfo *list) {
  for (const struct addrinfo *a = list; a; a = a->ai_next) {
    s->wanted = (struct mb_addr){.len = a->ai_addrlen};
    memcpy(&s->wanted.storage, a->ai_addr, a->ai_addrlen);
    s->stands_in = mb_standin_is(&s->wanted);
    if (!s->stands_in) continue;
    s->family = a->ai_family;
    return NULL;
  }
  if (mb_addr_port(&s->wanted) == 0) return bind_socket(L, s, list);
  int r = ensure_socket(L, s, s->wanted.any.sa_family);
  if (r < 0) return mb_luasocket_strerror(r);
  s->elsewhere = true;
  return NULL;
}

/* Returns NULL, or a message, which may be on the stack. */
static const char *bind_to(lua_State *L, struct mb_luasocket *s, const char *host,
                           const char *port) {
  struct addrinfo *list;
  const char *error = mb_luasocket_resolve(L, host, port, s->family, true, &list);
  if (error) return error;
  error = mb_standin_active() ? stand_in(L, s, list) : bind_socket(L, s, list);
  MB_RARE(freeaddrinfo)(list);
  return error;
}

/*
 * master:bind(address, port)
 * Returns 1; or nil, message.
 */
int mb_luasocket_method_bind(lua_State *L) {
  struct mb_luasocket *s = mb_luasocket_check(L, MB_LUASOCKET_MASTER);
  const char *host = luaL_checkstring(L, 2);
  const char *error = bind_to(L, s, host, mb_luasocket_port(L, 3));
  return error ? mb_luasocket_fail(L, error) : mb_luasocket_done(L);
}

/*
 * Makes a server at one address for socket.bind. Returns NULL, with the server on top of the stack; or a
 * message, which may be on the stack.
 */
static const char *serve_at(lua_State *L, const struct addrinfo *address, const char *port,
                            int backlog) {
  char host[NI_MAXHOST];
  const int on = 1;
  if (MB_RARE(getnameinfo)(address->ai_addr, address->ai_addrlen, host, sizeof host, NULL, 0,
                           NI_NUMERICHOST) != 0)
    return "no info on address";
  struct mb_luasocket *s = push_master(L, address->ai_family);
  if (!mb_standin_active()) {
    int r = ensure_socket(L, s, address->ai_family);
    if (r < 0) mb_refused(-r, MB_REFUSED_LISTEN, NULL, 0);
    if (r < 0) return mb_luasocket_strerror(r);
    setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  }
  int object = lua_gettop(L);
  const char *error = bind_to(L, s, host, port);
  if (!error) error = mb_luasocket_listen(L, object, backlog);
  if (error) {
    mb_luasocket_close(s);
  } else {
    lua_settop(L, object);
  }
  return error;
}

/*
 * socket.bind(address, port [, backlog])
 * Returns a server at the first of the host's addresses where that is possible; or nil, message.
 */
int mb_luasocket_bind(lua_State *L) {
  const char *host = luaL_checkstring(L, 1);
  const char *port = mb_luasocket_port(L, 2);
  int backlog = (int)luaL_optnumber(L, 3, MB_LUASOCKET_BACKLOG);
  struct addrinfo *list;
  if (strcmp(host, "*") == 0) host = "0.0.0.0";
  const char *error = mb_luasocket_resolve(L, host, "0", AF_UNSPEC, true, &list);
  if (error) return mb_luasocket_fail(L, error);
  lua_settop(L, 3);
  for (const struct addrinfo *a = list; a; a = a->ai_next) {
    error = serve_at(L, a, port, backlog);
    if (!error) break;
    error = lua_pushstring(L, error);
    lua_replace(L, 3);
    lua_settop(L, 3);
  }
  MB_RARE(freeaddrinfo)(list);
  return error ? mb_luasocket_fail(L, error) : 1;
}

/* ---- connect ---- */

/* Makes a socket usable after a failure, with its options and its own address. Returns r. */
static int disconnect(int fd, int r) {
  struct sockaddr none = {.sa_family = AF_UNSPEC};
  connect(fd, &none, sizeof none.sa_family); /* a sandbox refuses longer addresses */
  return r;
}

/* Returns 0, -EAGAIN when the attempt is undecided at the deadline, or -errno. */
static int connect_socket(const struct mb_luasocket *s, int fd, const struct addrinfo *address,
                          int64_t start) {
  if (connect(fd, address->ai_addr, address->ai_addrlen) == 0) return 0;
  if (errno == EAGAIN) return -EADDRNOTAVAIL; /* no port is left to connect from */
  /* The attempt goes on by itself after a signal, and after a timeout of an earlier call. */
  bool goes_on = errno == EINPROGRESS || errno == EINTR || (errno == EALREADY && s->block != 0);
  if (!goes_on) return -errno;
  int r = mb_luasocket_wait(s, fd, POLLOUT, start);
  if (r < 0) return r;
  int error = 0;
  socklen_t len = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) return -errno;
  return error ? disconnect(fd, -error) : 0;
}

/* Gives the object's socket to its handle. r is the outcome of the attempt: 0 when connected. */
static void attach(struct mb_luasocket *s, int r) {
  struct mb_handle *h = s->h;
  h->in_error = h->out_error = 0;
  s->ended = false;
  h->local.len = h->remote.len = 0;
  h->outgoing = true;
  h->nodelay = false;
  mb_handle_attach(h, mb_channel_of(s->fd, s->fd, MB_FD_TCP));
  if (r == 0 && mb_addr_of(s->fd, &h->local, &h->remote) < 0) h->local.len = h->remote.len = 0;
  s->fd = -1;
}

/*
 * Tries one address after the other. A block timeout counts for each address, so that there is time for the
 * next one when an address does not answer. Returns 0 or -errno; -EAGAIN is a timeout.
 */
static int try_addresses(lua_State *L, struct mb_luasocket *s, const struct addrinfo *list) {
  int64_t start = mb_luasocket_start(s);
  int r = -EADDRNOTAVAIL;
  for (const struct addrinfo *a = list; a; a = a->ai_next) {
    if (!(s->total >= 0)) start = mb_luasocket_start(s);
    r = ensure_socket(L, s, a->ai_family);
    if (r == 0) r = connect_socket(s, s->fd, a, start);
    if (r < 0) mb_refused_address(-r, a);
    if (r == 0 || s->block == 0) break;
    if (r == -EAGAIN && a->ai_next) disconnect(s->fd, r); /* the next address may use it again */
  }
  return r;
}

/*
 * Connects the object at an index. Returns NULL or a message, which may be on the stack. The object becomes a
 * client in both cases, unless it is a server or is connected already.
 */
static const char *connect_to(lua_State *L, int object, const char *host, const char *port,
                              int family) {
  struct mb_luasocket *s = lua_touserdata(L, object);
  if (s->class == MB_LUASOCKET_SERVER) return mb_luasocket_strerror(-EISCONN);
  if (s->class == MB_LUASOCKET_CLIENT && mb_handle_is_open(s->h)) {
    if (!s->owns || s->h->guarded) return mb_luasocket_strerror(-EISCONN);
    s->fd = mb_handle_fd(s->h); /* tries again with the same socket */
  }
  struct addrinfo *list;
  const char *error = mb_luasocket_resolve(L, host, port, family, false, &list);
  if (!error) {
    int r = try_addresses(L, s, list);
    MB_RARE(freeaddrinfo)(list);
    if (s->fd >= 0) attach(s, r);
    if (r < 0) error = mb_luasocket_strerror(r);
  } else if (s->fd >= 0) {
    attach(s, -ENOTCONN);
  }
  mb_luasocket_become(L, object, MB_LUASOCKET_CLIENT);
  return error;
}

/* Binds a socket that turns out to be a client's, in a program with --style. */
static const char *bind_in_truth(lua_State *L, struct mb_luasocket *s) {
  struct addrinfo address = {
      .ai_family = s->wanted.any.sa_family, .ai_addr = &s->wanted.any, .ai_addrlen = s->wanted.len};
  s->stands_in = s->elsewhere = false;
  return bind_socket(L, s, &address);
}

/*
 * master:connect(address, port)
 * Returns 1; or nil, message.
 */
int mb_luasocket_method_connect(lua_State *L) {
  struct mb_luasocket *s = mb_luasocket_any(L);
  const char *host = luaL_checkstring(L, 2);
  const char *port = mb_luasocket_port(L, 3);
  const char *error = NULL;
  if ((s->stands_in || s->elsewhere) && s->class == MB_LUASOCKET_MASTER)
    error = bind_in_truth(L, s);
  if (!error) error = connect_to(L, 1, host, port, s->family);
  return error ? mb_luasocket_fail(L, error) : mb_luasocket_done(L);
}

static int connect_from(lua_State *L, int family) {
  const char *host = luaL_checkstring(L, 1);
  const char *port = mb_luasocket_port(L, 2);
  const char *local_host = luaL_optstring(L, 3, NULL);
  const char *local_port = lua_isnoneornil(L, 4) ? "0" : mb_luasocket_port(L, 4);
  const char *error = NULL;
  struct mb_luasocket *s = push_master(L, family);
  int object = lua_gettop(L);
  if (local_host) {
    struct addrinfo *list;
    error = mb_luasocket_resolve(L, local_host, local_port, family, true, &list);
    if (!error) {
      error = bind_socket(L, s, list);
      MB_RARE(freeaddrinfo)(list);
    }
  }
  if (!error) error = connect_to(L, object, host, port, local_host ? s->family : family);
  if (error) {
    mb_luasocket_close(s);
    return mb_luasocket_fail(L, error);
  }
  lua_settop(L, object);
  return 1;
}

/*
 * socket.connect(address, port [, locaddr [, locport [, family]]])
 * Returns a connected client; or nil, message. family is "inet", "inet6" or "unspec".
 */
int mb_luasocket_connect(lua_State *L) {
  static const char *const names[] = {"inet", "inet6", "unspec", NULL};
  static const int families[] = {AF_INET, AF_INET6, AF_UNSPEC};
  return connect_from(L, families[luaL_checkoption(L, 5, "unspec", names)]);
}

/* socket.connect4(address, port [, locaddr [, locport]]): as socket.connect, over IPv4. */
int mb_luasocket_connect4(lua_State *L) { return connect_from(L, AF_INET); }

/* socket.connect6(address, port [, locaddr [, locport]]): as socket.connect, over IPv6. */
int mb_luasocket_connect6(lua_State *L) { return connect_from(L, AF_INET6); }
