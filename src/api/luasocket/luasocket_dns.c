/* socket.dns: asks the system's resolver, and waits for it without a limit. */
#include "api/luasocket/luasocket_dns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/luasocket/luasocket_object.h"
#include "base/rare.h"
#include "base/refused.h"

/*
 * dns.getaddrinfo(host)
 * Returns an array of the host's addresses, each {family = "inet" or "inet6", addr = text}; or nil, message.
 */
static int dns_getaddrinfo(lua_State *L) {
  const char *host = luaL_checkstring(L, 1);
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
  int code = MB_RARE(getaddrinfo)(host, NULL, &hints, &list);
  if (code != 0) mb_refused(EPERM, MB_REFUSED_NAMES, host, 0);
  if (code != 0) return mb_luasocket_fail(L, mb_luasocket_gai_error(code));
  lua_newtable(L);
  lua_Integer n = 0;
  for (const struct addrinfo *a = list; a; a = a->ai_next) {
    char text[NI_MAXHOST];
    if (MB_RARE(getnameinfo)(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0,
                             NI_NUMERICHOST) != 0)
      continue;
    lua_createtable(L, 0, 2);
    lua_pushstring(L, a->ai_family == AF_INET ? "inet" : "inet6");
    lua_setfield(L, -2, "family");
    lua_pushstring(L, text);
    lua_setfield(L, -2, "addr");
    lua_rawseti(L, -2, ++n);
  }
  MB_RARE(freeaddrinfo)(list);
  return 1;
}

/*
 * dns.getnameinfo(host [, service])
 * Returns an array with the names of the host's addresses, and the name of the service; or nil, message.
 */
static int dns_getnameinfo(lua_State *L) {
  const char *host = luaL_optstring(L, 1, NULL);
  const char *service = luaL_optstring(L, 2, NULL);
  if (!host && !service) return luaL_error(L, "host and serv cannot be both nil");
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
  int code = MB_RARE(getaddrinfo)(host, service, &hints, &list);
  if (code != 0) return mb_luasocket_fail(L, mb_luasocket_gai_error(code));
  char name[NI_MAXHOST], port[NI_MAXSERV] = "";
  lua_newtable(L);
  lua_Integer n = 0;
  for (const struct addrinfo *a = list; a; a = a->ai_next) {
    if (MB_RARE(getnameinfo)(a->ai_addr, a->ai_addrlen, name, host ? sizeof name : 0, port,
                             service ? sizeof port : 0, 0) != 0)
      continue;
    if (!host) continue;
    lua_pushstring(L, name);
    lua_rawseti(L, -2, ++n);
  }
  MB_RARE(freeaddrinfo)(list);
  if (!service) return 1;
  lua_pushstring(L, port);
  return 2;
}

static void push_strings(lua_State *L, char *const *strings) {
  lua_newtable(L);
  for (lua_Integer i = 0; strings[i]; i++) {
    lua_pushstring(L, strings[i]);
    lua_rawseti(L, -2, i + 1);
  }
}

/* Pushes a table about an IPv4 host: name, alias (an array), ip (an array). */
static void push_host(lua_State *L, const struct hostent *host) {
  lua_createtable(L, 0, 3);
  lua_pushstring(L, host->h_name);
  lua_setfield(L, -2, "name");
  push_strings(L, host->h_aliases);
  lua_setfield(L, -2, "alias");
  lua_newtable(L);
  for (lua_Integer i = 0; host->h_addr_list[i]; i++) {
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, host->h_addr_list[i], text, sizeof text);
    lua_pushstring(L, text);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "ip");
}

static int host_error(lua_State *L) {
  return mb_luasocket_fail(
      L, h_errno == HOST_NOT_FOUND ? "host not found" : MB_RARE(hstrerror)(h_errno));
}

static const struct hostent *look_up(const char *name) {
  struct in_addr address;
  if (MB_RARE(inet_aton)(name, &address))
    return MB_RARE(gethostbyaddr)(&address, sizeof address, AF_INET);
  return MB_RARE(gethostbyname)(name);
}

/* dns.tohostname(address): returns the host's name, and the table of push_host; or nil, message. */
static int dns_tohostname(lua_State *L) {
  const struct hostent *host = look_up(luaL_checkstring(L, 1));
  if (!host) return host_error(L);
  lua_pushstring(L, host->h_name);
  push_host(L, host);
  return 2;
}

/* dns.toip(host): returns the host's first IPv4 address, and the table of push_host; or nil, message. */
static int dns_toip(lua_State *L) {
  const struct hostent *host = look_up(luaL_checkstring(L, 1));
  if (!host || !host->h_addr_list[0]) return host_error(L);
  push_host(L, host);
  lua_getfield(L, -1, "ip");
  lua_rawgeti(L, -1, 1);
  lua_replace(L, -2);
  lua_insert(L, -2);
  return 2;
}

/* dns.gethostname(): returns the name of this host; or nil, message. */
static int dns_gethostname(lua_State *L) {
  char name[HOST_NAME_MAX + 1];
  if (MB_RARE(gethostname)(name, sizeof name) != 0) return mb_luasocket_fail(L, strerror(errno));
  lua_pushstring(L, name);
  return 1;
}

static const luaL_Reg functions[] = {
    {"getaddrinfo", dns_getaddrinfo},
    {"gethostname", dns_gethostname},
    {"getnameinfo", dns_getnameinfo},
    {"tohostname", dns_tohostname},
    {"toip", dns_toip},
    {NULL, NULL},
};

int mb_luasocket_dns_open(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}
