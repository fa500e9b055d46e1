/*
 * Checks of listen{...}: the types of fields, and what holds between fields. Must throw before
 * anything is registered.
 */
#include "app/listen_check.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "app/listen_fields.h"
#include "app/sandbox_wish.h"
#include "base/addr.h"
#include "base/log.h"
#include "base/proxy_trust.h"

/* Pushes what is expected, and the value. Returns the text. */
static const char *push_wrong(lua_State *L, int value, const char *expected) {
  const char *text = luaL_tolstring(L, value, NULL);
  const char *quote = lua_type(L, value) == LUA_TSTRING ? "\"" : "";
  return lua_pushfstring(L, "expected %s, got %s%s%s", expected, quote, text, quote);
}

/* Throws: names the field, what is expected, the value, and what the field is for. */
static int wrong(lua_State *L, const char *where, const struct mb_listen_field *f, int value,
                 const char *expected) {
  const char *text = push_wrong(L, value, expected);
  return luaL_error(L, "listen: %s%s: %s (%s: %s)", where, f->name, text, f->name, f->text);
}

/* ---- types ---- */

#define EXPECTED_MAX 64

/*
 * These check a field's value, on top of the stack. Each returns what is expected, or NULL when the
 * value is that. A text with a number in it is written to `text`.
 */

/* A number may be a string, as in Moonbridge: a port often comes from the environment. */
static const char *check_seconds(lua_State *L, const struct mb_listen_field *f,
                                 char text[EXPECTED_MAX]) {
  int is_number;
  lua_Number n = lua_tonumberx(L, -1, &is_number);
  if (is_number && n >= (lua_Number)f->least && n < HUGE_VAL) return NULL;
  bool may_be_false = f->type == MB_FIELD_PAUSE;
  if (may_be_false && lua_isboolean(L, -1) && !lua_toboolean(L, -1)) return NULL;
  snprintf(text, EXPECTED_MAX, "a number of seconds, %lld or more%s", (long long)f->least,
           may_be_false ? ", or false" : "");
  return text;
}

/* unit  "an integer" or "a number of bytes" */
static const char *check_integer(lua_State *L, const struct mb_listen_field *f, const char *unit,
                                 char text[EXPECTED_MAX]) {
  int is_integer;
  lua_Integer n = lua_tointegerx(L, -1, &is_integer);
  if (is_integer && n >= f->least && n <= f->most) return NULL;
  long long least = f->least, most = f->most;
  if (most == LUA_MAXINTEGER) {
    snprintf(text, EXPECTED_MAX, "%s, %lld or more", unit, least);
  } else {
    snprintf(text, EXPECTED_MAX, "%s from %lld to %lld", unit, least, most);
  }
  return text;
}

static const char *check_text(lua_State *L) {
  size_t len;
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
  return text && len > 0 && strlen(text) == len ? NULL : "a string that is not empty";
}

static const char *check_host(lua_State *L) {
  struct mb_addr addr;
  const char *expected = check_text(L);
  if (expected) return expected;
  int r = mb_addr_from_text(lua_tostring(L, -1), -1, &addr);
  if (r == -EBADMSG)
    return "a \"%\" behind a link-local IPv6 address only, and behind it an interface's name, or "
           "its number from 1, as in \"fe80::1%eth0\"";
  if (r != -EINVAL && mb_addr_is_multicast(&addr))
    return "an address for TCP, which has no multicast addresses";
  return NULL;
}

static const char *check_path(lua_State *L, const struct mb_listen_field *f,
                              char text[EXPECTED_MAX]) {
  if (check_text(L) || (lua_Integer)lua_rawlen(L, -1) > f->most) {
    snprintf(text, EXPECTED_MAX, "a path of at most %lld bytes", (long long)f->most);
    return text;
  }
  const char *path = lua_tostring(L, -1);
  if (path[0] == '@') return path[1] ? NULL : "a name behind the @";
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  bool is_directory = !*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
  return is_directory ? "the path of a socket, not of a directory" : NULL;
}

/* Every entry of the list is checked; the table may hold nothing but the list. */
static const char *check_networks(lua_State *L) {
  static const char expected[] =
      "a list of addresses and networks, such as {\"10.0.0.0/8\", \"::1\"}";
  static const char entry[] =
      "an address or a network, with nothing but zeros behind its prefix, such as 10.0.0.0/8, or "
      "\"" MB_TRUST_UNIX "\", in each place of the list";
  if (!lua_istable(L, -1)) return expected;
  lua_Integer count = (lua_Integer)lua_rawlen(L, -1), keys = 0;
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) keys++;
  if (count == 0 || keys != count) return expected;
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, -1, i);
    bool ok = check_text(L) == NULL && mb_trust_is_network(lua_tostring(L, -1));
    if (!ok) return entry; /* the value stays on top, to be shown */
    lua_pop(L, 1);
  }
  return NULL;
}

/* For a message. The older spellings tcp4 and tcp6 are left out. */
static const char protocols[] = "\"tcp\", \"local\", \"interval\" or \"main\"";

enum mb_proto mb_listen_proto(lua_State *L) {
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  enum mb_proto proto = MB_PROTO_COUNT - 1;
  while (proto != MB_PROTO_ANY && strcmp(text, mb_proto_name(proto)) != 0) proto--;
  return proto != MB_PROTO_ANY && lua_rawlen(L, -1) == strlen(text) ? proto : MB_PROTO_ANY;
}

static const char *check(lua_State *L, const struct mb_listen_field *f, char text[EXPECTED_MAX]) {
  switch ((enum mb_field_type)f->type) {
    case MB_FIELD_FUNCTION:
      return lua_isfunction(L, -1) ? NULL : "a function";
    case MB_FIELD_BOOLEAN:
      return lua_isboolean(L, -1) ? NULL : "true or false";
    case MB_FIELD_SECONDS:
    case MB_FIELD_PAUSE:
      return check_seconds(L, f, text);
    case MB_FIELD_INTEGER:
      return check_integer(L, f, "an integer", text);
    case MB_FIELD_BYTES:
      return check_integer(L, f, "a number of bytes", text);
    case MB_FIELD_TEXT:
      return check_text(L);
    case MB_FIELD_HOST:
      return check_host(L);
    case MB_FIELD_PATH:
      return check_path(L, f, text);
    case MB_FIELD_NETWORKS:
      return check_networks(L);
    case MB_FIELD_PROTO:
      return mb_listen_proto(L) ? NULL : protocols;
    case MB_FIELD_SANDBOX:
      return mb_sandbox_wish_check(L);
    case MB_FIELD_TABLE:
      return lua_istable(L, -1) ? NULL : "a table";
  }
  return NULL;
}

/* ---- tables ---- */

/*
 * Returns whether a key, at index, must not be passed over: a hole in the list, or a field that says which
 * connections a listener is for, or whom it trusts, or what it may do, in a place where it says nothing.
 */
static bool is_misplaced(lua_State *L, int index) {
  static const unsigned connections = MB_FIELD_OF(MB_PROTO_TCP) | MB_FIELD_OF(MB_PROTO_TCP4) |
                                      MB_FIELD_OF(MB_PROTO_TCP6) | MB_FIELD_OF(MB_PROTO_LOCAL);
  if (lua_type(L, index) != LUA_TSTRING) return true;
  if (strcmp(lua_tostring(L, index), "sandbox") == 0) return true;
  for (const struct mb_listen_field *f = NULL; (f = mb_listen_next(f, connections)) != NULL;) {
    if (strcmp(f->name, lua_tostring(L, index)) == 0) return true;
  }
  return false;
}

/* Pushes the names of an owner's fields, with commas between them. */
static const char *push_names(lua_State *L, unsigned owner) {
  luaL_Buffer b;
  const char *separator = "";
  luaL_buffinit(L, &b);
  for (const struct mb_listen_field *f = NULL; (f = mb_listen_next(f, owner)) != NULL;) {
    luaL_addstring(&b, separator);
    luaL_addstring(&b, f->name);
    separator = ", ";
  }
  luaL_pushresult(&b);
  return lua_tostring(L, -1);
}

/* Throws when the unknown key on top but one of the stack is misplaced; names the fields that there are. */
static void check_is_placed(lua_State *L, const char *where, unsigned owner) {
  int top = lua_gettop(L), key = top - 1;
  if (!is_misplaced(L, key)) return;
  const char *names = push_names(L, owner);
  const char *quote = lua_type(L, key) == LUA_TSTRING ? "\"" : "";
  luaL_error(L, "listen: %sunknown field %s%s%s (its value is %s): expected one of %s", where,
             quote, luaL_tolstring(L, key, NULL), quote, luaL_tolstring(L, top, NULL), names);
}

/* Throws when the key at index, in the table of the call, says which connections a listener is for. */
static void check_is_outer(lua_State *L, int index) {
  if (lua_type(L, index) != LUA_TSTRING || !is_misplaced(L, index)) return;
  luaL_error(L,
             "listen: %s belongs to a listener, which is a table of its own: listen{ "
             "{proto=\"tcp\", port=8080}, connect=... }",
             lua_tostring(L, index));
}

/* Returns the owner's field of which the key at index is the name, or NULL. */
static const struct mb_listen_field *field_of(lua_State *L, int index, unsigned owner) {
  if (lua_type(L, index) != LUA_TSTRING) return NULL;
  size_t len;
  const char *key = lua_tolstring(L, index, &len);
  const struct mb_listen_field *f = NULL;
  while ((f = mb_listen_next(f, owner)) != NULL) {
    if (strcmp(f->name, key) == 0) return strlen(key) == len ? f : NULL;
  }
  return NULL;
}

static bool is_place(lua_State *L, int index, lua_Integer count) {
  lua_Integer key = lua_isinteger(L, index) ? lua_tointeger(L, index) : 0;
  return key >= 1 && key <= count;
}

/* So many characters a name has at least that may stand for a longer one. */
#define HINT_MIN 4

/*
 * Replaces the name on top of the stack by the table's next unknown field in the order of the alphabet; nil: by the
 * first. Returns false when there is none.
 */
static bool next_unknown(lua_State *L, int index, unsigned owner) {
  int last = lua_gettop(L), least = last + 1;
  lua_pushnil(L);
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    int key = lua_gettop(L) - 1;
    if (lua_type(L, key) != LUA_TSTRING || field_of(L, key, owner)) continue;
    if (!lua_isnil(L, last) && !lua_compare(L, last, key, LUA_OPLT)) continue;
    if (!lua_isnil(L, least) && !lua_compare(L, key, least, LUA_OPLT)) continue;
    lua_pushvalue(L, key);
    lua_replace(L, least);
  }
  lua_replace(L, last);
  return !lua_isnil(L, last);
}

/* Pushes a name in quotation marks, and the field that may be meant: one whose name begins with it. */
static void push_unknown(lua_State *L, const char *name, unsigned owner) {
  const struct mb_listen_field *f = NULL;
  size_t len = strlen(name);
  while ((f = mb_listen_next(f, owner)) != NULL && (len < HINT_MIN || strncmp(f->name, name, len)))
    continue;
  lua_pushfstring(L, f ? "\"%s\" (%s?)" : "\"%s\"", name, f ? f->name : NULL);
}

/*
 * Logs a warning that names the unknown fields of the table at index, and the fields that there are: Moonbridge passes
 * over what it does not know, and applications have fields of their own. The warning comes with each connection, and has
 * not the values, which may be secrets.
 */
static void warn_of_unknown(lua_State *L, int index, const char *where, unsigned owner) {
  int count = 0, top = lua_gettop(L);
  lua_pushliteral(L, "");
  lua_pushnil(L);
  while (next_unknown(L, index, owner)) {
    lua_pushvalue(L, -2);
    lua_pushstring(L, count++ ? ", " : "");
    push_unknown(L, lua_tostring(L, -3), owner);
    lua_concat(L, 3);
    lua_replace(L, -3);
  }
  const char *names = push_names(L, owner);
  luaL_where(L, 1);
  mb_log(LOG_WARNING, "%slisten: %sunknown field%s %s %s passed over: expected one of %s",
         lua_tostring(L, -1), where, count > 1 ? "s" : "", lua_tostring(L, top + 1),
         count > 1 ? "are" : "is", names);
  lua_settop(L, top);
}

_Static_assert(MB_LISTEN_FIELDS <= 32, "a set of fields fits into 32 bits");

/*
 * Looks for fields of the table at index that are not the owner's, and checks each that is: a slip in a
 * name, or a hole in the list, must not pass in silence.
 * where  what stands before a field's name in a message: "" or "listener 2: "
 * count  length of the array part that may be there too
 */
static void check_fields(lua_State *L, int index, const char *where, unsigned owner,
                         lua_Integer count) {
  uint32_t present = 0; /* a bit for each row. Asking for all would make a string of each name. */
  bool has_unknown = false;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    int key = lua_gettop(L) - 1;
    const struct mb_listen_field *f = field_of(L, key, owner);
    if (f) {
      present |= UINT32_C(1) << (f - mb_listen_fields);
    } else if (!is_place(L, key, count)) {
      if (owner == MB_FIELD_OF_CALL) check_is_outer(L, key);
      check_is_placed(L, where, owner);
      has_unknown = true;
    }
  }
  if (has_unknown) warn_of_unknown(L, index, where, owner);
  /* In the order of the rows, as a table has none: the same call always has the same error. */
  for (const struct mb_listen_field *f = NULL; (f = mb_listen_next(f, owner)) != NULL;) {
    if (!f->required && !(present >> (f - mb_listen_fields) & 1)) continue;
    char text[EXPECTED_MAX];
    mb_listen_field(L, index, f->name);
    const char *expected = check(L, f, text);
    if (expected) wrong(L, where, f, lua_gettop(L), expected);
    lua_pop(L, 1);
  }
}

int mb_listen_field(lua_State *L, int index, const char *name) {
  index = lua_absindex(L, index);
  lua_pushstring(L, name);
  return lua_rawget(L, index);
}

/* Throws when an entry of the list on top of the stack cannot have the peers of such a listener. */
static void check_trust(lua_State *L, const char *where, bool is_local) {
  for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
    bool is_unix = strcmp(lua_tostring(L, -1), MB_TRUST_UNIX) == 0;
    if (is_unix != is_local)
      luaL_error(L, "listen: %sproxy_trust: \"%s\" %s", where, lua_tostring(L, -1),
                 is_local ? "is no client of a Unix socket: expected \"" MB_TRUST_UNIX
                            "\", which has all who may connect"
                          : "goes with proto = \"local\"");
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

void mb_listen_check_call(lua_State *L, int index) {
  check_fields(L, index, "", MB_FIELD_OF_CALL, (lua_Integer)lua_rawlen(L, index));
}

void mb_listen_check_listener(lua_State *L, int index, int number) {
  const char *name = lua_pushfstring(L, "listener %d", number);
  const char *where = lua_pushfstring(L, "%s: ", name);
  if (!lua_istable(L, index))
    luaL_error(L, "listen: %s: %s", name,
               push_wrong(L, index, "a table such as {proto=\"tcp\", port=8080}"));
  mb_listen_field(L, index, "proto");
  enum mb_proto proto = mb_listen_proto(L);
  /* Without a protocol it is not known which fields there may be: all listeners begin with proto. */
  if (!proto)
    wrong(L, where, mb_listen_next(NULL, MB_FIELD_OF(MB_PROTO_TCP)), lua_gettop(L), protocols);
  lua_pop(L, 1);
  check_fields(L, index, where, MB_FIELD_OF(proto), 0);
  mb_listen_field(L, index, "proxy_protocol");
  bool proxy_protocol = lua_toboolean(L, -1);
  if (mb_listen_field(L, index, "proxy_trust") != LUA_TNIL) {
    if (!proxy_protocol)
      luaL_error(L, "listen: %sproxy_trust: goes with proxy_protocol = true", where);
    check_trust(L, where, proto == MB_PROTO_LOCAL);
  }
  if (mb_listen_field(L, index, "path") == LUA_TSTRING && proxy_protocol &&
      lua_tostring(L, -1)[0] == '@')
    luaL_error(L,
               "listen: %sproxy_protocol: an abstract socket has no permissions: anybody on this "
               "machine could say any address",
               where);
  lua_pop(L, 3);
}
