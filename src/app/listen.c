/*
 * listen{…}: the listeners of the script, in the order of their registration, and which of them a
 * connection is for. Names are looked up only when no address decides.
 */
#include "app/listen.h"

#include <lauxlib.h>
#include <string.h>

#include "base/match.h"
#include "socket/standin.h"

static struct mb_listener *first, **next_at = &first;
static int calls; /* of listen{} */
static bool closed;

void mb_listen_close(void) { closed = true; }

/* ---- registering ---- */

static int ref_field(lua_State *L, int index, const char *name) {
  if (mb_listen_field(L, index, name) == LUA_TNIL) {
    lua_pop(L, 1);
    return LUA_NOREF;
  }
  return luaL_ref(L, LUA_REGISTRYINDEX);
}

static void *new_anchored(lua_State *L, size_t size) {
  void *block = lua_newuserdata(L, size);
  memset(block, 0, size);
  luaL_ref(L, LUA_REGISTRYINDEX);
  return block;
}

/* The string of a field, which the registry keeps from being collected; NULL when there is none. */
static const char *anchor_string(lua_State *L, int index, const char *name) {
  mb_listen_field(L, index, name);
  const char *text = lua_tostring(L, -1);
  lua_pop(L, 1);
  ref_field(L, index, name);
  return text;
}

/*
 * The strings of a list as one, separated by commas, which the registry keeps; NULL when the field is
 * not there.
 */
static const char *anchor_list(lua_State *L, int index, const char *name) {
  if (mb_listen_field(L, index, name) == LUA_TNIL) {
    lua_pop(L, 1);
    return NULL;
  }
  int list = lua_gettop(L);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, list); i++) {
    if (i > 1) luaL_addchar(&b, ',');
    lua_rawgeti(L, list, i);
    luaL_addvalue(&b);
  }
  luaL_pushresult(&b);
  const char *text = lua_tostring(L, -1);
  luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pop(L, 1);
  return text;
}

static struct mb_service *new_service(lua_State *L) {
  struct mb_service *service = new_anchored(L, sizeof *service);
  service->number = ++calls;
  service->prepare = service->connect = service->finish = LUA_NOREF;
  return service;
}

static struct mb_listener *add_listener(lua_State *L, const struct mb_service *service,
                                        enum mb_proto proto) {
  struct mb_listener *l = new_anchored(L, sizeof *l);
  l->service = service;
  l->proto = proto;
  *next_at = l;
  next_at = &l->next;
  return l;
}

static void register_listener(lua_State *L, int index, const struct mb_service *service) {
  struct mb_listener *l = add_listener(L, service, mb_listen_proto(L, index));
  mb_listen_field(L, index, "localhost");
  bool loopback = lua_toboolean(L, -1);
  mb_listen_field(L, index, "port");
  l->port = lua_tointeger(L, -1);
  mb_listen_field(L, index, "delay");
  l->delay = lua_tonumber(L, -1);
  mb_listen_field(L, index, "strict");
  l->strict = lua_toboolean(L, -1);
  mb_listen_field(L, index, "proxy_protocol");
  l->proxy_protocol = lua_toboolean(L, -1);
  lua_pop(L, 5);
  l->proxy_trust = anchor_list(L, index, "proxy_trust");
  switch (l->proto) {
    case MB_PROTO_TCP:
      l->text = anchor_string(L, index, "host");
      if (!l->text) l->text = "::";
      break;
    case MB_PROTO_TCP4:
      l->text = loopback ? "127.0.0.1" : "0.0.0.0";
      break;
    case MB_PROTO_TCP6:
      l->text = loopback ? "::1" : "::";
      break;
    case MB_PROTO_LOCAL:
      l->text = anchor_string(L, index, "path");
      break;
    default:
      l->text = anchor_string(L, index, "name");
      break;
  }
}

/*
 * listen{ {proto=…, …}, …, connect = f, … }
 * Registers listeners and their handlers; the fields are those of DESIGN.md and mb-handle(8).
 * Source: reference, "Global function listen{...}".
 */
static int listen_call(lua_State *L) {
  if (mb_standin_active())
    return luaL_error(L,
                      "listen: not in a program of another library, which accepts by itself: a "
                      "script with listen{} is started without --style");
  if (closed)
    return luaL_error(L, "listen: cannot be called from a prepare, connect or finish handler");
  if (!lua_istable(L, 1))
    return luaL_error(L, "listen: expected a table, got %s", luaL_typename(L, 1));
  lua_settop(L, 1);
  mb_listen_check_service(L, 1);
  lua_Integer count = (lua_Integer)lua_rawlen(L, 1);
  mb_listen_field(L, 1, "memory_limit");
  lua_Integer memory_limit = lua_tointeger(L, -1);
  mb_listen_field(L, 1, "max_fork");
  lua_Integer max_fork = lua_tointeger(L, -1);
  lua_settop(L, 1);

  /* All is checked before anything is registered. */
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, 1, i);
    mb_listen_check_listener(L, 2, (int)i);
    lua_settop(L, 1);
  }

  struct mb_service *service = new_service(L);
  service->memory_limit = memory_limit;
  service->max_fork = max_fork;
  service->prepare = ref_field(L, 1, "prepare");
  service->connect = ref_field(L, 1, "connect");
  service->finish = ref_field(L, 1, "finish");
  if (count == 0) add_listener(L, service, MB_PROTO_ANY);
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, 1, i);
    register_listener(L, 2, service);
    lua_settop(L, 1);
  }
  return 0;
}

void mb_listen_open(lua_State *L) { lua_register(L, "listen", listen_call); }

void mb_listen_any(lua_State *L) {
  struct mb_service *service = new_service(L);
  service->connect = luaL_ref(L, LUA_REGISTRYINDEX);
  add_listener(L, service, MB_PROTO_ANY);
}

const struct mb_listener *mb_listen_first(void) { return first; }

/* ---- finding ---- */

/* ask: only those that stand for a name, whose addresses have to be asked for */
static bool matches(const struct mb_listener *l, const struct mb_addr *local, int fd, bool ask) {
  if (l->proto == MB_PROTO_LOCAL) return !ask && mb_match_path(l->text, local);
  if (l->proto != MB_PROTO_TCP && l->proto != MB_PROTO_TCP4 && l->proto != MB_PROTO_TCP6)
    return false;
  if (l->port != mb_addr_port(local)) return false;
  if (l->proto == MB_PROTO_TCP6 && !mb_addr_is_pure_ip6(local)) return false;
  switch (mb_match_host(l->text, local, fd)) {
    case MB_MATCH_YES:
      return !ask;
    case MB_MATCH_NAME:
      return ask && mb_match_name(l->text, local);
    default:
      return false;
  }
}

static bool takes_connections(const struct mb_listener *l) {
  return l->proto != MB_PROTO_INTERVAL && l->proto != MB_PROTO_MAIN;
}

const struct mb_listener *mb_listen_find(const struct mb_addr *local, int fd, int number) {
  const struct mb_listener *any = NULL;
  int n = 0;
  for (const struct mb_listener *l = first; l; l = l->next) {
    n++;
    if (number > 0) {
      if (n == number) return takes_connections(l) ? l : NULL;
      continue;
    }
    if (l->proto == MB_PROTO_ANY) {
      if (!any) any = l;
    } else if (local ? matches(l, local, fd, false) : takes_connections(l)) {
      return l;
    }
  }
  for (const struct mb_listener *l = first; l && local && number == 0; l = l->next) {
    if (matches(l, local, fd, true)) return l;
  }
  return any;
}

const char *mb_listen_name(const struct mb_listener *listener) {
  if (listener->text) return listener->text;
  return listener->proto == MB_PROTO_INTERVAL ? "interval" : "main";
}

/* ---- showing ---- */

static void describe(const struct mb_listener *l, char text[256]) {
  switch (l->proto) {
    case MB_PROTO_ANY:
      strcpy(text, "any connection");
      break;
    case MB_PROTO_LOCAL:
      snprintf(text, 256, "local %s", l->text);
      break;
    case MB_PROTO_INTERVAL:
      snprintf(text, 256, "interval %s every %.14g s%s", l->text ? l->text : "(no name)", l->delay,
               l->strict ? ", strict" : "");
      break;
    case MB_PROTO_MAIN:
      snprintf(text, 256, "main %s", l->text ? l->text : "(no name)");
      break;
    default:
      snprintf(text, 256, strchr(l->text, ':') ? "%s [%s]:%d" : "%s %s:%d",
               l->proto == MB_PROTO_TCP    ? "tcp"
               : l->proto == MB_PROTO_TCP4 ? "tcp4"
                                           : "tcp6",
               l->text, (int)l->port);
      break;
  }
  if (l->proxy_protocol) {
    size_t at = strlen(text);
    snprintf(text + at, 256 - at, ", PROXY protocol");
  }
}

void mb_listen_print(FILE *to) {
  int n = 0;
  for (const struct mb_listener *l = first; l; l = l->next) {
    char text[256];
    describe(l, text);
    fprintf(to, "%d %s\n", ++n, text);
  }
}

void mb_listen_describe(lua_State *L) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (const struct mb_listener *l = first; l; l = l->next) {
    char text[256];
    describe(l, text);
    luaL_addstring(&b, text);
    if (l->next) luaL_addstring(&b, ", ");
  }
  luaL_pushresult(&b);
}
