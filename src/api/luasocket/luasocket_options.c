/* object:setoption() and getoption(): each option has one row. */
#include <lauxlib.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "api/luasocket/luasocket_address.h"
#include "api/luasocket/luasocket_methods.h"
#include "api/luasocket/luasocket_object.h"

struct option {
  const char *name;
  int level, number;
  /* Sets the option to the value at index 3. Returns whether that went well; throws for a wrong value. */
  bool (*set)(lua_State *L, struct mb_luasocket *s, const struct option *o);
  /* Pushes the option's value. Returns whether that went well. */
  bool (*get)(lua_State *L, struct mb_luasocket *s, const struct option *o);
};

/* Returns the object's descriptor. A stand-in has none, so it gets a socket of its own for its options. */
static int socket_of(lua_State *L, struct mb_luasocket *s) {
  if (!s->stands_in) return mb_luasocket_fd(s);
  if (s->fd < 0) s->fd = mb_luasocket_open_socket(L, s->family);
  return s->fd;
}

static bool set_int(lua_State *L, struct mb_luasocket *s, const struct option *o, int value) {
  return setsockopt(socket_of(L, s), o->level, o->number, &value, sizeof value) == 0;
}

static bool get_int(lua_State *L, struct mb_luasocket *s, const struct option *o, int *ret) {
  socklen_t len = sizeof *ret;
  *ret = 0;
  return getsockopt(socket_of(L, s), o->level, o->number, ret, &len) == 0;
}

/* ---- booleans and numbers ---- */

static bool set_boolean(lua_State *L, struct mb_luasocket *s, const struct option *o) {
  luaL_checktype(L, 3, LUA_TBOOLEAN);
  return set_int(L, s, o, lua_toboolean(L, 3));
}

static bool get_boolean(lua_State *L, struct mb_luasocket *s, const struct option *o) {
  int value;
  if (!get_int(L, s, o, &value)) return false;
  lua_pushboolean(L, value != 0);
  return true;
}

static bool set_number(lua_State *L, struct mb_luasocket *s, const struct option *o) {
  return set_int(L, s, o, (int)luaL_checknumber(L, 3));
}

static bool get_number(lua_State *L, struct mb_luasocket *s, const struct option *o) {
  int value;
  if (!get_int(L, s, o, &value)) return false;
  lua_pushnumber(L, value);
  return true;
}

/* ---- options with functions of their own ---- */

/* Tells the handle whether TCP_NODELAY is set: if not, a flush of the native socket sets it. */
static bool set_nodelay(lua_State *L, struct mb_luasocket *s, const struct option *o) {
  if (!set_boolean(L, s, o)) return false;
  if (s->class == MB_LUASOCKET_CLIENT) s->h->nodelay = lua_toboolean(L, 3);
  return true;
}

/*
 * Stores the script's value; close() applies it. The system's setting of the connection that we were started for
 * stays: it makes the system reset that connection when the process is killed.
 */
static bool set_linger(lua_State *L, struct mb_luasocket *s, const struct option *o) {
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_getfield(L, 3, "on");
  if (!lua_isboolean(L, -1)) luaL_argerror(L, 3, "boolean 'on' field expected");
  lua_getfield(L, 3, "timeout");
  if (!lua_isnumber(L, -1)) luaL_argerror(L, 3, "number 'timeout' field expected");
  struct linger linger = {lua_toboolean(L, -2), (int)lua_tonumber(L, -1)};
  bool guarded = s->class == MB_LUASOCKET_CLIENT && s->h->guarded;
  if (!guarded && setsockopt(socket_of(L, s), o->level, o->number, &linger, sizeof linger) != 0)
    return false;
  s->linger = linger;
  return true;
}

static bool get_linger(lua_State *L, struct mb_luasocket *s, const struct option *o) {
  (void)o;
  if (socket_of(L, s) < 0) return false;
  lua_createtable(L, 0, 2);
  lua_pushboolean(L, s->linger.l_onoff);
  lua_setfield(L, -2, "on");
  lua_pushinteger(L, s->linger.l_linger);
  lua_setfield(L, -2, "timeout");
  return true;
}

/* Pushes the error since the last call, or nil. */
static bool get_error(lua_State *L, struct mb_luasocket *s, const struct option *o) {
  int value;
  if (!get_int(L, s, o, &value)) return false;
  lua_pushstring(L, value ? mb_luasocket_strerror(-value) : NULL); /* NULL pushes nil */
  return true;
}

/* ---- the table: a new option needs a row here, a test, and an entry in mb.luasocket(3) ---- */

static const struct option options[] = {
    {"error", SOL_SOCKET, SO_ERROR, NULL, get_error},
    {"ipv6-v6only", IPPROTO_IPV6, IPV6_V6ONLY, set_boolean, get_boolean},
    {"keepalive", SOL_SOCKET, SO_KEEPALIVE, set_boolean, get_boolean},
    {"linger", SOL_SOCKET, SO_LINGER, set_linger, get_linger},
    {"recv-buffer-size", SOL_SOCKET, SO_RCVBUF, set_number, get_number},
    {"reuseaddr", SOL_SOCKET, SO_REUSEADDR, set_boolean, get_boolean},
    {"reuseport", SOL_SOCKET, SO_REUSEPORT, set_boolean, get_boolean},
    {"send-buffer-size", SOL_SOCKET, SO_SNDBUF, set_number, get_number},
    {"tcp-defer-accept", IPPROTO_TCP, TCP_DEFER_ACCEPT, set_number, get_number},
    {"tcp-fastopen", IPPROTO_TCP, TCP_FASTOPEN, set_number, get_number},
    {"tcp-fastopen-connect", IPPROTO_TCP, TCP_FASTOPEN_CONNECT, set_number, get_number},
    {"tcp-keepcnt", IPPROTO_TCP, TCP_KEEPCNT, set_number, get_number},
    {"tcp-keepidle", IPPROTO_TCP, TCP_KEEPIDLE, set_number, get_number},
    {"tcp-keepintvl", IPPROTO_TCP, TCP_KEEPINTVL, set_number, get_number},
    {"tcp-nodelay", IPPROTO_TCP, TCP_NODELAY, set_nodelay, get_boolean},
};

static const struct option *find(const char *name) {
  for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
    if (strcmp(options[i].name, name) == 0) return &options[i];
  }
  return NULL;
}

/* Throws. */
static int refuse(lua_State *L, const char *name) {
  lua_pushfstring(L, "unsupported option `%s'", name);
  return luaL_argerror(L, 2, lua_tostring(L, -1));
}

/*
 * object:setoption(option [, value])
 * Returns 1; or nil, message.
 */
int mb_luasocket_method_setoption(lua_State *L) {
  struct mb_luasocket *s = mb_luasocket_any(L);
  const char *name = luaL_checkstring(L, 2);
  const struct option *o = find(name);
  if (!o || !o->set) return refuse(L, name);
  if (!o->set(L, s, o)) return mb_luasocket_fail(L, "setsockopt failed");
  return mb_luasocket_done(L);
}

/*
 * object:getoption(option)
 * Returns the value; or nil, message.
 */
int mb_luasocket_method_getoption(lua_State *L) {
  struct mb_luasocket *s = mb_luasocket_any(L);
  const char *name = luaL_checkstring(L, 2);
  const struct option *o = find(name);
  if (!o) return refuse(L, name);
  if (!o->get(L, s, o)) return mb_luasocket_fail(L, "getsockopt failed");
  return 1;
}
