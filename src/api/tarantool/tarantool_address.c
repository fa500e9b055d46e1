/* Hosts and ports: reads literals, looks names up, and makes the tables that describe addresses. */
#include "api/tarantool/tarantool_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <lauxlib.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "api/tarantool/tarantool_errno.h"
#include "api/tarantool/tarantool_names.h"
#include "base/rare.h"

/* ---- names and numbers ---- */

static int check_name(lua_State *L, int index, const struct mb_tarantool_name *table, int *ret) {
  return mb_tarantool_number(table, luaL_checkstring(L, index), ret) ? 0 : -EINVAL;
}

int mb_tarantool_check_number(lua_State *L, int index, const struct mb_tarantool_name *table,
                              int *ret_number) {
  *ret_number = 0;
  if (lua_isnoneornil(L, index)) return 0;
  if (lua_type(L, index) != LUA_TNUMBER) return check_name(L, index, table, ret_number);
  *ret_number = (int)luaL_checkinteger(L, index);
  return 0;
}

int mb_tarantool_check_protocol(lua_State *L, int index, int *ret_number) {
  *ret_number = 0;
  if (lua_isnoneornil(L, index)) return 0;
  if (lua_type(L, index) != LUA_TNUMBER)
    return mb_tarantool_protocol_number(luaL_checkstring(L, index), ret_number) ? 0 : -EINVAL;
  *ret_number = (int)luaL_checkinteger(L, index);
  return 0;
}

/* Reads an element of a table of flags, {"NAME"}, {NAME = true} or {4}: its key and value are on top. */
static int check_element(lua_State *L, const struct mb_tarantool_name *table, int *ret) {
  int value = lua_gettop(L), key = value - 1;
  *ret = 0;
  if (lua_type(L, key) != LUA_TSTRING) return mb_tarantool_check_number(L, value, table, ret);
  return lua_toboolean(L, value) ? check_name(L, key, table, ret) : 0;
}

int mb_tarantool_check_flags(lua_State *L, int index, const struct mb_tarantool_name *table,
                             int *ret_flags) {
  if (!lua_istable(L, index)) return mb_tarantool_check_number(L, index, table, ret_flags);
  int flags = 0, r = 0;
  index = lua_absindex(L, index);
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    int flag;
    r = check_element(L, table, &flag);
    if (r < 0) {
      lua_pop(L, 2);
      return r;
    }
    flags |= flag;
  }
  *ret_flags = flags;
  return 0;
}

/* ---- literals ---- */

static int from_path(lua_State *L, int index, int family, struct mb_addr *ret) {
  size_t len;
  const char *path = luaL_checklstring(L, index, &len);
  if (strlen(path) != len) return -EINVAL; /* for the system the path would end at the NUL */
  if (family != AF_UNIX) return -EAFNOSUPPORT;
  return mb_addr_from_path(path, ret);
}

static void copy_address(const struct addrinfo *info, struct mb_addr *ret) {
  memset(ret, 0, sizeof *ret);
  memcpy(&ret->storage, info->ai_addr, info->ai_addrlen);
  ret->len = info->ai_addrlen;
}

/*
 * Reads an address with getaddrinfo, as Tarantool does. It takes more than mb_addr_from_text: "127.1", and
 * for an IPv4 socket an address that is mapped into IPv6.
 */
static int from_text(const char *host, const char *port, int family, struct mb_addr *ret) {
  struct addrinfo *list, hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                                  .ai_family = family,
                                  .ai_socktype = SOCK_STREAM};
  int code = MB_RARE(getaddrinfo)(host, port, &hints, &list);
  if (code == EAI_ADDRFAMILY || code == EAI_FAMILY) return -EAFNOSUPPORT;
  if (code == EAI_MEMORY) return -ENOMEM;
  if (code != 0) return -EINVAL;
  copy_address(list, ret);
  MB_RARE(freeaddrinfo)(list);
  return 0;
}

/* Returns whether a host is 0, as a number or as text. */
static bool is_every_host(lua_State *L, int index) {
  return lua_isnumber(L, index) && lua_tonumber(L, index) == 0;
}

int mb_tarantool_check_address(lua_State *L, int index, int family, struct mb_addr *ret) {
  bool every = is_every_host(L, index);
  const char *host = every ? NULL : luaL_checkstring(L, index);
  if (host && strcmp(host, "unix/") == 0) return from_path(L, index + 1, family, ret);
  if (family == AF_UNIX) return -EAFNOSUPPORT;
  char port[8] = "0";
  if (!lua_isnoneornil(L, index + 1)) {
    int is_number;
    lua_Integer number = lua_tointegerx(L, index + 1, &is_number);
    if (!is_number) luaL_checkstring(L, index + 1);
    if (!is_number || number < 0 || number > 65535) return -EINVAL;
    snprintf(port, sizeof port, "%d", (int)number);
  }
  return from_text(host, port, family, ret);
}

/* ---- tables ---- */

static void push_unix(lua_State *L, const struct mb_addr *addr) {
  char path[sizeof addr->local.sun_path + 1];
  lua_pushliteral(L, "unix/");
  lua_setfield(L, -2, "host");
  lua_pushlstring(L, path, mb_addr_path(addr, path));
  lua_setfield(L, -2, "port");
}

static void push_internet(lua_State *L, const struct mb_addr *addr, bool mapped) {
  char host[NI_MAXHOST];
  if (mapped) {
    inet_ntop(AF_INET, mb_addr_ip4(addr), host, sizeof host);
  } else if (MB_RARE(getnameinfo)(&addr->any, addr->len, host, sizeof host, NULL, 0,
                                  NI_NUMERICHOST) != 0) {
    *host = '\0';
  }
  lua_pushstring(L, host);
  lua_setfield(L, -2, "host");
  lua_pushinteger(L, mb_addr_port(addr));
  lua_setfield(L, -2, "port");
}

void mb_tarantool_push_address(lua_State *L, const struct mb_addr *addr, bool unmap) {
  if (addr->len == 0) {
    lua_pushnil(L);
    return;
  }
  lua_createtable(L, 0, 5);
  int family = addr->any.sa_family;
  bool mapped = unmap && family == AF_INET6 && mb_addr_ip4(addr);
  if (mapped) family = AF_INET;
  if (family == AF_UNIX) {
    push_unix(L, addr);
  } else if (family == AF_INET || family == AF_INET6) {
    push_internet(L, addr, mapped);
  }
  lua_pushstring(L, mb_tarantool_name(mb_tarantool_families, family));
  lua_setfield(L, -2, "family");
}

void mb_tarantool_set_kind(lua_State *L, int type, int protocol) {
  lua_pushstring(L, mb_tarantool_name(mb_tarantool_types, type));
  lua_setfield(L, -2, "type");
  lua_pushstring(L, mb_tarantool_protocol_name(protocol));
  lua_setfield(L, -2, "protocol");
}

/* ---- the lookup ---- */

/* Returns the nearest error of errno(7) for a code of getaddrinfo. */
static int errno_of(int code) {
  switch (code) {
    case EAI_SYSTEM:
      return errno;
    case EAI_MEMORY:
      return ENOMEM;
    case EAI_AGAIN:
      return EAGAIN;
    case EAI_FAMILY:
    case EAI_ADDRFAMILY:
      return EAFNOSUPPORT;
    case EAI_SOCKTYPE:
      return ESOCKTNOSUPPORT;
    case EAI_BADFLAGS:
    case EAI_SERVICE:
      return EINVAL;
    case EAI_NONAME:
    case EAI_NODATA:
      return ENXIO;
    default:
      return EIO;
  }
}

static int push_failure(lua_State *L, int number, const char *message) {
  mb_tarantool_push_error(L, -number);
  lua_pushstring(L, message);
  return 3;
}

/* Returns whether the field on top of the stack can be read without throwing. */
static bool is_readable(lua_State *L) {
  int type = lua_type(L, -1);
  return type == LUA_TNIL || type == LUA_TSTRING || type == LUA_TTABLE || lua_isinteger(L, -1);
}

static const char *check_hint(lua_State *L, const char *field, int *ret,
                              const struct mb_tarantool_name *table) {
  int r = -EINVAL;
  lua_getfield(L, 3, field);
  bool is_flags = table == mb_tarantool_address_flags;
  if (is_readable(L) && is_flags) {
    r = mb_tarantool_check_flags(L, -1, table, ret);
  } else if (is_readable(L) && !lua_istable(L, -1)) {
    r = table ? mb_tarantool_check_number(L, -1, table, ret)
              : mb_tarantool_check_protocol(L, -1, ret);
  }
  lua_settop(L, 3);
  return r == 0 ? NULL : lua_pushfstring(L, "unknown %s in the hints", field);
}

/* Reads the hints at index 3. Returns NULL, or a message when they are wrong. */
static const char *check_hints(lua_State *L, struct addrinfo *hints) {
  if (lua_isnoneornil(L, 3)) return NULL;
  luaL_checktype(L, 3, LUA_TTABLE);
  const char *wrong = check_hint(L, "family", &hints->ai_family, mb_tarantool_families);
  if (!wrong) wrong = check_hint(L, "type", &hints->ai_socktype, mb_tarantool_types);
  if (!wrong) wrong = check_hint(L, "protocol", &hints->ai_protocol, NULL);
  if (!wrong) wrong = check_hint(L, "flags", &hints->ai_flags, mb_tarantool_address_flags);
  return wrong;
}

static void push_info(lua_State *L, const struct addrinfo *info) {
  struct mb_addr addr;
  copy_address(info, &addr);
  mb_tarantool_push_address(L, &addr, false);
  mb_tarantool_set_kind(L, info->ai_socktype, info->ai_protocol);
  if (!info->ai_canonname) return;
  lua_pushstring(L, info->ai_canonname);
  lua_setfield(L, -2, "canonname");
}

/* Stack: a list as light userdata. Called protected: the caller frees the list even if memory runs out. */
static int push_list(lua_State *L) {
  const struct addrinfo *list = lua_touserdata(L, 1);
  lua_newtable(L);
  lua_Integer i = 1;
  for (const struct addrinfo *a = list; a; a = a->ai_next) {
    push_info(L, a);
    lua_rawseti(L, -2, i++);
  }
  return 1;
}

/* Returns whether a port is a float, or the text of one: "24366.0" is what Lua makes of "24366" + 0. */
static bool is_float(lua_State *L, int index) {
  const char *text = lua_tostring(L, index);
  size_t digits = text ? strspn(text, "0123456789") : 0;
  return digits > 0 && strcmp(text + digits, ".0") == 0;
}

int mb_tarantool_getaddrinfo(lua_State *L) {
  struct addrinfo hints = {0}, *list;
  lua_settop(L, 3);
  int is_integer = 0;
  lua_Integer whole = is_float(L, 2) ? lua_tointegerx(L, 2, &is_integer) : 0;
  if (is_integer) {
    lua_pushinteger(L, whole);
    lua_replace(L, 2);
  }
  const char *host = luaL_optstring(L, 1, NULL);
  const char *port = luaL_optstring(L, 2, NULL);
  const char *wrong = check_hints(L, &hints);
  if (wrong) return push_failure(L, EINVAL, wrong);
  if (host && *host == '\0') host = NULL;
  int code = MB_RARE(getaddrinfo)(host, port, &hints, &list);
  if (code != 0) {
    int number = errno_of(code);
    return push_failure(L, number,
                        code == EAI_SYSTEM ? strerror(number) : MB_RARE(gai_strerror)(code));
  }
  lua_pushcfunction(L, push_list);
  lua_pushlightuserdata(L, list);
  int status = lua_pcall(L, 1, 1, 0);
  MB_RARE(freeaddrinfo)(list);
  return status == LUA_OK ? 1 : lua_error(L);
}
