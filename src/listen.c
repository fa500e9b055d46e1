/*
 * listen{…}. Everything is checked when it is called, where the error can name the script's line;
 * names are looked up only when no address decides.
 */
#include "listen.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

#include "match.h"

enum proto {
  PROTO_ANY,
  PROTO_TCP,
  PROTO_TCP4,
  PROTO_TCP6,
  PROTO_LOCAL,
  PROTO_INTERVAL,
  PROTO_MAIN
};

/* One listener. A userdata in the registry, as are the strings that it points to. */
struct listener {
  struct listener *next;
  const struct mb_service *service;
  enum proto proto;
  const char *text; /* host, path or name */
  lua_Integer port;
  double delay;
  bool strict;
};

static struct listener *first, **next_at = &first;
static bool closed;

void mb_listen_close(void) { closed = true; }

/* ---- checking ---- */

/* Throws: names the field, the value, and what is expected. */
static int wrong(lua_State *L, const char *where, const char *field, int value,
                 const char *expected) {
  const char *text = luaL_tolstring(L, value, NULL);
  const char *quote = lua_type(L, value) == LUA_TSTRING ? "\"" : "";
  return luaL_error(L, "listen: %s%s: expected %s, got %s%s%s", where, field, expected, quote, text,
                    quote);
}

/*
 * Checks of a field's value, on top of the stack. Each returns what is expected, or NULL when it is
 * that.
 */
typedef const char *check(lua_State *L);

static const char *check_function(lua_State *L) {
  return lua_isfunction(L, -1) ? NULL : "a function";
}

static const char *check_boolean(lua_State *L) {
  return lua_isboolean(L, -1) ? NULL : "true or false";
}

static const char *check_seconds(lua_State *L) {
  bool ok =
      lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) >= 0 && lua_tonumber(L, -1) < HUGE_VAL;
  return ok ? NULL : "a number of seconds, 0 or more";
}

static bool is_integer_from(lua_State *L, lua_Integer least, lua_Integer most) {
  int is_integer;
  lua_Integer n = lua_tointegerx(L, -1, &is_integer);
  return lua_type(L, -1) == LUA_TNUMBER && is_integer && n >= least && n <= most;
}

static const char *check_count(lua_State *L) {
  return is_integer_from(L, 0, INT32_MAX) ? NULL : "an integer, 0 or more";
}

static const char *check_positive(lua_State *L) {
  return is_integer_from(L, 1, INT32_MAX) ? NULL : "an integer, 1 or more";
}

static const char *check_bytes(lua_State *L) {
  return is_integer_from(L, 1, LUA_MAXINTEGER) ? NULL : "a number of bytes, 1 or more";
}

static const char *check_port(lua_State *L) {
  return is_integer_from(L, 1, UINT16_MAX) ? NULL : "an integer from 1 to 65535";
}

static const char *check_text(lua_State *L) {
  size_t len;
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
  return text && len > 0 && strlen(text) == len ? NULL : "a string that is not empty";
}

static const char *check_path(lua_State *L) {
  static const char expected[] = "a path of at most 107 bytes";
  if (check_text(L)) return expected;
  return lua_rawlen(L, -1) < sizeof(((struct sockaddr_un *)0)->sun_path) ? NULL : expected;
}

static const char *check_proto(lua_State *L);

struct field {
  const char *name;
  check *check;
  bool required;
};

/* The fork settings are checked and have no effect: there is one process for one connection. */
static const struct field service_fields[] = {
    {"prepare", check_function, false},         {"connect", check_function, true},
    {"finish", check_function, false},          {"memory_limit", check_bytes, false},
    {"pre_fork", check_count, false},           {"min_fork", check_count, false},
    {"max_fork", check_positive, false},        {"fork_delay", check_seconds, false},
    {"fork_error_delay", check_seconds, false}, {"exit_delay", check_seconds, false},
    {"idle_timeout", check_seconds, false},     {NULL, NULL, false},
};

static const struct field tcp_fields[] = {{"proto", check_proto, true},
                                          {"host", check_text, false},
                                          {"port", check_port, true},
                                          {NULL, NULL, false}};
static const struct field tcp46_fields[] = {{"proto", check_proto, true},
                                            {"port", check_port, true},
                                            {"localhost", check_boolean, false},
                                            {NULL, NULL, false}};
static const struct field local_fields[] = {
    {"proto", check_proto, true}, {"path", check_path, true}, {NULL, NULL, false}};
static const struct field interval_fields[] = {{"proto", check_proto, true},
                                               {"name", check_text, false},
                                               {"delay", check_seconds, true},
                                               {"strict", check_boolean, false},
                                               {NULL, NULL, false}};
static const struct field main_fields[] = {
    {"proto", check_proto, true}, {"name", check_text, false}, {NULL, NULL, false}};

static const struct kind {
  const char *name;
  enum proto proto;
  const struct field *fields;
} kinds[] = {
    {"tcp", PROTO_TCP, tcp_fields},
    {"tcp4", PROTO_TCP4, tcp46_fields},
    {"tcp6", PROTO_TCP6, tcp46_fields},
    {"local", PROTO_LOCAL, local_fields},
    {"interval", PROTO_INTERVAL, interval_fields},
    {"main", PROTO_MAIN, main_fields},
};

static const struct kind *find_kind(const char *name) {
  for (size_t i = 0; name && i < sizeof kinds / sizeof *kinds; i++) {
    if (strcmp(name, kinds[i].name) == 0) return &kinds[i];
  }
  return NULL;
}

static const char *check_proto(lua_State *L) {
  const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
  return find_kind(name) ? NULL : "\"tcp\", \"local\", \"interval\" or \"main\"";
}

static bool has_field(const struct field *fields, const char *name) {
  for (; fields->name; fields++) {
    if (strcmp(fields->name, name) == 0) return true;
  }
  return false;
}

/*
 * Checks every field of the table at index, and that there is no other; a slip in a name must not
 * pass in silence.
 * where  what stands before a field's name in a message: "" or "listener 2: "
 */
static void check_fields(lua_State *L, int index, const char *where, const struct field *fields,
                         bool array_too) {
  for (const struct field *f = fields; f->name; f++) {
    lua_getfield(L, index, f->name);
    const char *expected = lua_isnil(L, -1) && !f->required ? NULL : f->check(L);
    if (expected) wrong(L, where, f->name, lua_gettop(L), expected);
    lua_pop(L, 1);
  }
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    if (lua_type(L, -2) == LUA_TSTRING) {
      if (has_field(fields, lua_tostring(L, -2))) continue;
      luaL_error(L, "listen: %sunknown field \"%s\"", where, lua_tostring(L, -2));
    }
    if (array_too && lua_isinteger(L, -2)) continue;
    luaL_error(L, "listen: %sunknown key %s", where, luaL_tolstring(L, -2, NULL));
  }
}

/* ---- registering ---- */

static int ref_field(lua_State *L, int index, const char *name) {
  if (lua_getfield(L, index, name) == LUA_TNIL) {
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

static const char *anchor_string(lua_State *L, int index, const char *name) {
  if (lua_getfield(L, index, name) == LUA_TNIL) {
    lua_pop(L, 1);
    return NULL;
  }
  const char *text = lua_tostring(L, -1);
  luaL_ref(L, LUA_REGISTRYINDEX);
  return text;
}

static struct listener *add_listener(lua_State *L, const struct mb_service *service,
                                     enum proto proto) {
  struct listener *l = new_anchored(L, sizeof *l);
  l->service = service;
  l->proto = proto;
  *next_at = l;
  next_at = &l->next;
  return l;
}

static void check_listener(lua_State *L, int index, lua_Integer number) {
  const char *name = lua_pushfstring(L, "listener %I", number);
  const char *where = lua_pushfstring(L, "%s: ", name);
  if (!lua_istable(L, index))
    wrong(L, "", name, index, "a table such as {proto=\"tcp\", port=8080}");
  lua_getfield(L, index, "proto");
  if (check_proto(L)) wrong(L, where, "proto", lua_gettop(L), check_proto(L));
  const struct kind *kind = find_kind(lua_tostring(L, -1));
  lua_pop(L, 1);
  check_fields(L, index, where, kind->fields, false);
}

static void register_listener(lua_State *L, int index, const struct mb_service *service,
                              const struct kind *kind) {
  struct listener *l = add_listener(L, service, kind->proto);
  lua_getfield(L, index, "localhost");
  bool loopback = lua_toboolean(L, -1);
  lua_getfield(L, index, "port");
  l->port = lua_tointeger(L, -1);
  lua_getfield(L, index, "delay");
  l->delay = lua_tonumber(L, -1);
  lua_getfield(L, index, "strict");
  l->strict = lua_toboolean(L, -1);
  lua_pop(L, 4);
  switch (kind->proto) {
    case PROTO_TCP:
      l->text = anchor_string(L, index, "host");
      if (!l->text) l->text = "::";
      break;
    case PROTO_TCP4:
      l->text = loopback ? "127.0.0.1" : "0.0.0.0";
      break;
    case PROTO_TCP6:
      l->text = loopback ? "::1" : "::";
      break;
    case PROTO_LOCAL:
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
  if (closed)
    return luaL_error(L, "listen: cannot be called from a prepare, connect or finish handler");
  if (!lua_istable(L, 1))
    return luaL_error(L, "listen: expected a table, got %s", luaL_typename(L, 1));
  lua_settop(L, 1);
  check_fields(L, 1, "", service_fields, true);
  lua_Integer count = luaL_len(L, 1);
  lua_getfield(L, 1, "memory_limit");
  lua_Integer memory_limit = lua_tointeger(L, -1);
  lua_settop(L, 1);

  /* All is checked before anything is registered. */
  for (lua_Integer i = 1; i <= count; i++) {
    lua_geti(L, 1, i);
    check_listener(L, 2, i);
    lua_settop(L, 1);
  }

  struct mb_service *service = new_anchored(L, sizeof *service);
  service->memory_limit = memory_limit;
  service->prepare = ref_field(L, 1, "prepare");
  service->connect = ref_field(L, 1, "connect");
  service->finish = ref_field(L, 1, "finish");
  if (count == 0) add_listener(L, service, PROTO_ANY);
  for (lua_Integer i = 1; i <= count; i++) {
    lua_geti(L, 1, i);
    lua_getfield(L, 2, "proto");
    register_listener(L, 2, service, find_kind(lua_tostring(L, 3)));
    lua_settop(L, 1);
  }
  return 0;
}

void mb_listen_open(lua_State *L) { lua_register(L, "listen", listen_call); }

void mb_listen_any(lua_State *L) {
  struct mb_service *service = new_anchored(L, sizeof *service);
  service->prepare = service->finish = LUA_NOREF;
  service->connect = luaL_ref(L, LUA_REGISTRYINDEX);
  add_listener(L, service, PROTO_ANY);
}

int mb_listen_count(void) {
  int n = 0;
  for (const struct listener *l = first; l; l = l->next) n++;
  return n;
}

/* ---- finding ---- */

/* ask: only those that stand for a name, whose addresses have to be asked for */
static bool matches(const struct listener *l, const struct mb_addr *local, bool ask) {
  if (l->proto == PROTO_LOCAL) return !ask && mb_match_path(l->text, local);
  if (l->proto != PROTO_TCP && l->proto != PROTO_TCP4 && l->proto != PROTO_TCP6) return false;
  if (l->port != mb_addr_port(local)) return false;
  if (l->proto == PROTO_TCP6 && !mb_addr_is_pure_ip6(local)) return false;
  switch (mb_match_host(l->text, local)) {
    case MB_MATCH_YES:
      return !ask;
    case MB_MATCH_NAME:
      return ask && mb_match_name(l->text, local);
    default:
      return false;
  }
}

static bool takes_connections(const struct listener *l) {
  return l->proto != PROTO_INTERVAL && l->proto != PROTO_MAIN;
}

const struct mb_service *mb_listen_find(const struct mb_addr *local, int number) {
  const struct listener *any = NULL;
  int n = 0;
  for (const struct listener *l = first; l; l = l->next) {
    n++;
    if (number > 0) {
      if (n == number) return takes_connections(l) ? l->service : NULL;
      continue;
    }
    if (l->proto == PROTO_ANY) {
      if (!any) any = l;
    } else if (local ? matches(l, local, false) : takes_connections(l)) {
      return l->service;
    }
  }
  for (const struct listener *l = first; l && local && number == 0; l = l->next) {
    if (matches(l, local, true)) return l->service;
  }
  return any ? any->service : NULL;
}

/* ---- showing ---- */

static void describe(const struct listener *l, char text[256]) {
  switch (l->proto) {
    case PROTO_ANY:
      strcpy(text, "any connection");
      break;
    case PROTO_LOCAL:
      snprintf(text, 256, "local %s", l->text);
      break;
    case PROTO_INTERVAL:
      snprintf(text, 256, "interval %s every %.17g s%s", l->text ? l->text : "(no name)", l->delay,
               l->strict ? ", strict" : "");
      break;
    case PROTO_MAIN:
      snprintf(text, 256, "main %s", l->text ? l->text : "(no name)");
      break;
    default:
      snprintf(text, 256, strchr(l->text, ':') ? "%s [%s]:%d" : "%s %s:%d",
               l->proto == PROTO_TCP    ? "tcp"
               : l->proto == PROTO_TCP4 ? "tcp4"
                                        : "tcp6",
               l->text, (int)l->port);
      break;
  }
}

void mb_listen_print(FILE *to) {
  int n = 0;
  for (const struct listener *l = first; l; l = l->next) {
    char text[256];
    describe(l, text);
    fprintf(to, "%d %s\n", ++n, text);
  }
}

void mb_listen_describe(lua_State *L) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (const struct listener *l = first; l; l = l->next) {
    char text[256];
    describe(l, text);
    luaL_addstring(&b, text);
    if (l->next) luaL_addstring(&b, ", ");
  }
  luaL_pushresult(&b);
}
