/*
 * Checks of listen{…}. A new field is a row in a table here, and its use in listen.c. Must throw
 * before anything is registered.
 */
#include "app/listen_check.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/un.h>

#include "base/addr.h"
#include "base/proxy_trust.h"

static bool is_text(lua_State *L, int index, const char *text) {
  size_t len;
  const char *value = lua_tolstring(L, index, &len);
  return len == strlen(text) && memcmp(value, text, len) == 0;
}

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

static const char *check_host(lua_State *L) {
  struct mb_addr addr;
  const char *expected = check_text(L);
  if (!expected && mb_addr_from_text(lua_tostring(L, -1), -1, &addr) == -EBADMSG)
    expected = "a \"%\" behind a link-local IPv6 address only, as in \"fe80::1%eth0\"";
  return expected;
}

static const char *check_path(lua_State *L) {
  if (check_text(L) || lua_rawlen(L, -1) >= sizeof(((struct sockaddr_un *)0)->sun_path))
    return "a path of at most 107 bytes";
  const char *path = lua_tostring(L, -1);
  if (path[0] == '@') return path[1] ? NULL : "a name behind the @";
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  bool is_directory = !*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
  return is_directory ? "the path of a socket, not of a directory" : NULL;
}

/* Every entry of the list, and nothing beside the list. */
static const char *check_networks(lua_State *L) {
  static const char expected[] =
      "a list of addresses and networks, such as {\"10.0.0.0/8\", \"::1\"}";
  static const char entry[] =
      "an address or a network, with nothing but zeros behind its prefix, such as 10.0.0.0/8, in "
      "each place of the list";
  if (!lua_istable(L, -1)) return expected;
  lua_Integer count = (lua_Integer)lua_rawlen(L, -1), keys = 0;
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) keys++;
  if (count == 0 || keys != count) return expected;
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, -1, i);
    bool ok = check_text(L) == NULL && mb_trust_is_network(lua_tostring(L, -1));
    if (!ok) return entry; /* which stays on top, to be shown */
    lua_pop(L, 1);
  }
  return NULL;
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
                                          {"host", check_host, false},
                                          {"port", check_port, true},
                                          {"proxy_protocol", check_boolean, false},
                                          {"proxy_trust", check_networks, false},
                                          {NULL, NULL, false}};
static const struct field tcp46_fields[] = {
    {"proto", check_proto, true},           {"port", check_port, true},
    {"localhost", check_boolean, false},    {"proxy_protocol", check_boolean, false},
    {"proxy_trust", check_networks, false}, {NULL, NULL, false}};
static const struct field local_fields[] = {{"proto", check_proto, true},
                                            {"path", check_path, true},
                                            {"proxy_protocol", check_boolean, false},
                                            {NULL, NULL, false}};
static const struct field interval_fields[] = {{"proto", check_proto, true},
                                               {"name", check_text, false},
                                               {"delay", check_seconds, true},
                                               {"strict", check_boolean, false},
                                               {NULL, NULL, false}};
static const struct field main_fields[] = {
    {"proto", check_proto, true}, {"name", check_text, false}, {NULL, NULL, false}};

static const struct kind {
  const char *name;
  enum mb_proto proto;
  const struct field *fields;
} kinds[] = {
    {"tcp", MB_PROTO_TCP, tcp_fields},
    {"tcp4", MB_PROTO_TCP4, tcp46_fields},
    {"tcp6", MB_PROTO_TCP6, tcp46_fields},
    {"local", MB_PROTO_LOCAL, local_fields},
    {"interval", MB_PROTO_INTERVAL, interval_fields},
    {"main", MB_PROTO_MAIN, main_fields},
};

/* The kind that the string on top of the stack names; NULL when there is none. */
static const struct kind *find_kind(lua_State *L) {
  if (lua_type(L, -1) != LUA_TSTRING) return NULL;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (is_text(L, -1, kinds[i].name)) return &kinds[i];
  }
  return NULL;
}

static const char *check_proto(lua_State *L) {
  return find_kind(L) ? NULL : "\"tcp\", \"local\", \"interval\" or \"main\"";
}

/* Throws: names the unknown key on top but one of the stack, its value, and what there is. */
static void unknown(lua_State *L, const char *where, const struct field *fields) {
  luaL_Buffer b;
  const char *value = luaL_tolstring(L, -1, NULL);
  const char *key = luaL_tolstring(L, -3, NULL);
  const char *quote = lua_type(L, -4) == LUA_TSTRING ? "\"" : "";
  luaL_buffinit(L, &b);
  for (const struct field *f = fields; f->name; f++) {
    luaL_addstring(&b, f->name);
    if (f[1].name) luaL_addstring(&b, ", ");
  }
  luaL_pushresult(&b);
  luaL_error(L, "listen: %sunknown field %s%s%s (its value is %s): expected one of %s", where,
             quote, key, quote, value, lua_tostring(L, -1));
}

static bool is_known(lua_State *L, int index, const struct field *fields, lua_Integer count) {
  if (lua_type(L, index) == LUA_TSTRING) {
    for (; fields->name; fields++) {
      if (is_text(L, index, fields->name)) return true;
    }
    return false;
  }
  lua_Integer key = lua_isinteger(L, index) ? lua_tointeger(L, index) : 0;
  return key >= 1 && key <= count;
}

/*
 * Checks that the table at index has no field but these, and each of these: a slip in a name, or a
 * hole in the list, must not pass in silence.
 * where  what stands before a field's name in a message: "" or "listener 2: "
 * count  length of the array part that may be there too
 */
static void check_fields(lua_State *L, int index, const char *where, const struct field *fields,
                         lua_Integer count) {
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    if (!is_known(L, lua_gettop(L) - 1, fields, count)) unknown(L, where, fields);
  }
  for (const struct field *f = fields; f->name; f++) {
    mb_listen_field(L, index, f->name);
    const char *expected = lua_isnil(L, -1) && !f->required ? NULL : f->check(L);
    if (expected) wrong(L, where, f->name, lua_gettop(L), expected);
    lua_pop(L, 1);
  }
}

int mb_listen_field(lua_State *L, int index, const char *name) {
  index = lua_absindex(L, index);
  lua_pushstring(L, name);
  return lua_rawget(L, index);
}

void mb_listen_check_service(lua_State *L, int index) {
  check_fields(L, index, "", service_fields, (lua_Integer)lua_rawlen(L, index));
}

void mb_listen_check_listener(lua_State *L, int index, int number) {
  const char *name = lua_pushfstring(L, "listener %d", number);
  const char *where = lua_pushfstring(L, "%s: ", name);
  if (!lua_istable(L, index))
    wrong(L, "", name, index, "a table such as {proto=\"tcp\", port=8080}");
  mb_listen_field(L, index, "proto");
  if (check_proto(L)) wrong(L, where, "proto", lua_gettop(L), check_proto(L));
  const struct kind *kind = find_kind(L);
  lua_pop(L, 1);
  check_fields(L, index, where, kind->fields, 0);
  mb_listen_field(L, index, "proxy_protocol");
  bool proxy_protocol = lua_toboolean(L, -1);
  if (mb_listen_field(L, index, "proxy_trust") != LUA_TNIL && !proxy_protocol)
    luaL_error(L, "listen: %sproxy_trust: goes with proxy_protocol = true", where);
  if (mb_listen_field(L, index, "path") == LUA_TSTRING && proxy_protocol &&
      lua_tostring(L, -1)[0] == '@')
    luaL_error(L,
               "listen: %sproxy_protocol: an abstract socket has no permissions: anybody on this "
               "machine could say any address",
               where);
  lua_pop(L, 3);
}

enum mb_proto mb_listen_proto(lua_State *L, int index) {
  mb_listen_field(L, index, "proto");
  const struct kind *kind = find_kind(L);
  lua_pop(L, 1);
  return kind->proto;
}
