/* Reads arguments that several functions of moonbridge_io take, and reports their failures. */
#include "state/io_args.h"

#include <ctype.h>
#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/connect.h"
#include "base/rare.h"
#include "state/state.h"

#define PORT_MAX 65535

const char *mb_io_check_string(lua_State *L, int index) {
  size_t len;
  const char *text = luaL_checklstring(L, index, &len);
  luaL_argcheck(L, strlen(text) == len, index, "must not contain a NUL byte");
  return text;
}

/* Writes the number of a port as text. Throws when it is out of range. */
static void format_port(lua_State *L, int index, lua_Integer port, bool passive,
                        char ret_port[NI_MAXSERV]) {
  /* 0 means any free port. */
  luaL_argcheck(L, port >= (passive ? 0 : 1) && port <= PORT_MAX, index,
                passive ? "port out of range (0 to 65535)" : "port out of range (1 to 65535)");
  snprintf(ret_port, NI_MAXSERV, "%d", (int)port);
}

static void check_port(lua_State *L, int index, bool passive, char ret_port[NI_MAXSERV]) {
  if (lua_type(L, index) == LUA_TNUMBER) {
    format_port(L, index, luaL_checkinteger(L, index), passive, ret_port);
    return;
  }
  const char *name = mb_io_check_string(L, index);
  size_t len = strlen(name);
  /* getaddrinfo would take " 80", "+80" and "-65456" for numbers. */
  luaL_argcheck(L, len < NI_MAXSERV && isalnum((unsigned char)name[0]), index,
                "expected a port or the name of a service");
  if (strspn(name, "0123456789") == len) {
    /* getaddrinfo would take its value modulo 65536. */
    format_port(L, index, len > 5 ? PORT_MAX + 1 : luaL_checkinteger(L, index), passive, ret_port);
  } else {
    strcpy(ret_port, name);
  }
}

void mb_io_check_endpoint(lua_State *L, int index, bool passive, struct mb_io_endpoint *ret) {
  ret->host = mb_io_check_string(L, index);
  check_port(L, index + 1, passive, ret->port);
  const char *format = strchr(ret->host, ':') ? "[%s]:%s" : "%s:%s";
  snprintf(ret->target, sizeof ret->target, format, ret->host, ret->port);
}

int mb_io_resolve(lua_State *L, const struct mb_io_endpoint *endpoint, bool passive,
                  struct addrinfo **ret) {
  int code = mb_resolve(endpoint->host, endpoint->port, passive, ret);
  if (code == EAI_SYSTEM && mb_state_made_room(L, -errno))
    code = mb_resolve(endpoint->host, endpoint->port, passive, ret);
  if (code == 0) return 0;
  if (code == EAI_SYSTEM) return mb_io_push_error(L, endpoint->target, -errno);
  const char *why = code == EAI_SERVICE ? "Unknown service" : MB_RARE(gai_strerror)(code);
  lua_pushnil(L);
  lua_pushfstring(L, "%s: %s", endpoint->target, why);
  lua_pushinteger(L, code);
  return 3;
}

int mb_io_check_path(lua_State *L, int index, struct mb_addr *ret) {
  const char *path = mb_io_check_string(L, index);
  int r = mb_addr_from_path(path, ret);
  luaL_argcheck(L, r != -EINVAL, index, "expected a path, or @NAME");
  return r < 0 ? mb_io_push_error(L, path, r) : 0;
}

int mb_io_push_error(lua_State *L, const char *what, int r) {
  lua_pushnil(L);
  lua_pushfstring(L, "%s: %s", what, strerror(-r));
  lua_pushinteger(L, -r);
  return 3;
}
