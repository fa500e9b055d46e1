/* Addresses of LuaSocket's objects: the lookup, and getsockname(), getpeername() and getfamily(). */
#include "api/luasocket/luasocket_address.h"

#include <errno.h>
#include <lauxlib.h>
#include <netinet/in.h>
#include <string.h>

#include "api/luasocket/luasocket_methods.h"
#include "api/luasocket/luasocket_object.h"
#include "base/addr.h"
#include "base/rare.h"
#include "base/refused.h"
#include "socket/standin.h"
#include "state/state.h"

void mb_luasocket_trim_port(lua_State *L, int index) {
  if (!lua_isstring(L, index)) return;
  const char *port = lua_tostring(L, index);
  size_t digits = strspn(port, "0123456789");
  if (digits == 0 || port[digits] != '.') return;
  const char *fraction = port + digits + 1;
  if (*fraction == '\0' || fraction[strspn(fraction, "0")] != '\0') return;
  lua_pushlstring(L, port, digits);
  lua_replace(L, index);
}

const char *mb_luasocket_port(lua_State *L, int index) {
  mb_luasocket_trim_port(L, index);
  return luaL_checkstring(L, index);
}

const char *mb_luasocket_no_port(lua_State *L, const char *port) {
  return lua_pushfstring(L, "%s: port \"%s\"", mb_luasocket_gai_error(EAI_SERVICE), port);
}

bool mb_luasocket_is_out_of_range(const char *port) {
  size_t digits = strspn(port, "0123456789");
  return port[digits] == '\0' && (digits > 5 || (digits == 5 && strcmp(port, "65535") > 0));
}

const char *mb_luasocket_resolve(lua_State *L, const char *host, const char *port, int family,
                                 bool passive, struct addrinfo **ret) {
  struct addrinfo hints = {
      .ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = passive ? AI_PASSIVE : 0};
  if (mb_luasocket_is_out_of_range(port)) return mb_luasocket_no_port(L, port);
  if (strcmp(host, "*") == 0) host = NULL;
  int code = MB_RARE(getaddrinfo)(host, port, &hints, ret);
  if (code == EAI_SERVICE) return mb_luasocket_no_port(L, port);
  if (code != 0 && host) mb_refused(EPERM, MB_REFUSED_NAMES, host, 0);
  return code == 0 ? NULL : mb_luasocket_gai_error(code);
}

int mb_luasocket_open_socket(lua_State *L, int family) {
  const int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, on = 1;
  int fd = socket(family, type, 0);
  if (fd < 0 && mb_state_made_room(L, -errno)) fd = socket(family, type, 0);
  if (fd < 0) return -errno;
  /* As in LuaSocket, an object of tcp6 is for IPv6 alone, unless the script sets the option itself. */
  if (family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  return fd;
}

/* ---- getsockname and getpeername ---- */

static int push_name(lua_State *L, const char *name, uint16_t port, const char *family) {
  lua_pushstring(L, name);
  lua_pushinteger(L, port);
  lua_pushstring(L, family);
  return 3;
}

/* Pushes an address; that of a Unix socket is its path, port 0, and "unix". */
static int push_addr(lua_State *L, const struct mb_addr *addr) {
  char text[MB_ADDR_TEXT_MAX];
  int family = addr->any.sa_family;
  if (family != AF_INET && family != AF_INET6) {
    mb_addr_text(addr, text);
    return push_name(L, text, 0, "unix");
  }
  /* mb_addr_text would be wrong here: for LuaSocket a mapped IPv4 address is an IPv6 address. */
  if (MB_RARE(getnameinfo)(&addr->any, addr->len, text, sizeof text, NULL, 0, NI_NUMERICHOST) != 0)
    return mb_luasocket_fail(L, mb_luasocket_strerror(-EAFNOSUPPORT));
  return push_name(L, text, mb_addr_port(addr), family == AF_INET ? "inet" : "inet6");
}

/* Pushes an address of the connection that we were started for: a mapped IPv4 address is written as IPv4. */
static int push_own(lua_State *L, const struct mb_addr *addr) {
  char text[MB_ADDR_TEXT_MAX];
  if (!mb_addr_ip4(addr)) return push_addr(L, addr);
  mb_addr_text(addr, text);
  return push_name(L, text, mb_addr_port(addr), "inet");
}

typedef int (*name_function)(int, struct sockaddr *restrict, socklen_t *restrict);

static int ask_system(lua_State *L, int fd, name_function name) {
  struct mb_addr addr = {.len = sizeof addr.storage};
  if (name(fd, &addr.any, &addr.len) != 0)
    return mb_luasocket_fail(L, mb_luasocket_strerror(-errno));
  return push_addr(L, &addr);
}

/*
 * Returns an address that the handle knows, or NULL. Behind a PROXY header it is the client's own address,
 * which the system does not know.
 */
static const struct mb_addr *known(const struct mb_luasocket *s, bool peer) {
  if (s->class != MB_LUASOCKET_CLIENT || !s->h->guarded) return NULL;
  const struct mb_addr *addr = peer ? &s->h->remote : &s->h->local;
  return addr->len > 0 ? addr : NULL;
}

/*
 * object:getsockname()
 * Returns the local address, the port, and "inet", "inet6" or "unix"; or nil, message.
 */
int mb_luasocket_method_getsockname(lua_State *L) {
  const struct mb_luasocket *s = mb_luasocket_any(L);
  const struct mb_addr *addr = known(s, false);
  if (addr) return push_own(L, addr);
  if (s->stands_in) {
    struct mb_addr bound;
    mb_standin_bound(&s->wanted, &bound);
    return push_addr(L, &bound);
  }
  if (s->elsewhere) return push_addr(L, &s->wanted);
  return ask_system(L, mb_luasocket_fd(s), getsockname);
}

/* client:getpeername(): returns the same for the peer. */
int mb_luasocket_method_getpeername(lua_State *L) {
  const struct mb_luasocket *s = mb_luasocket_any(L);
  const struct mb_addr *addr = known(s, true);
  if (addr) return push_own(L, addr);
  if (s->stands_in) return mb_luasocket_fail(L, mb_luasocket_strerror(-ENOTCONN));
  return ask_system(L, mb_luasocket_fd(s), getpeername);
}

/* object:getfamily(): returns "inet4" or "inet6". */
int mb_luasocket_method_getfamily(lua_State *L) {
  lua_pushstring(L, mb_luasocket_any(L)->family == AF_INET6 ? "inet6" : "inet4");
  return 1;
}
