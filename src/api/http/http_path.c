/* Functions of mb.http.core for paths of URLs. */
#include "api/http/http_path.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "http/http_form.h"
#include "http/http_segment.h"

/*
 * http.decode_path(text[, strict])
 * Returns the text with every %XX decoded; "+" stays. strict: nil when a NUL or a slash would come of it.
 * Source: RFC 3986, section 2.1.
 */
int mb_http_decode_path(lua_State *L) {
  struct mb_span text;
  luaL_Buffer b;
  text.data = luaL_checklstring(L, 1, &text.size);
  bool strict = lua_toboolean(L, 2);
  char *to = luaL_buffinitsize(L, &b, text.size);
  size_t size = mb_form_decode(to, text, false);
  if (strict) {
    size_t slashes = 0;
    for (size_t i = 0; i < text.size; i++) slashes += text.data[i] == '/';
    for (size_t i = 0; i < size; i++) slashes -= to[i] == '/';
    if (slashes != 0 || memchr(to, '\0', size)) {
      lua_pushnil(L);
      return 1;
    }
  }
  luaL_pushresultsize(&b, size);
  return 1;
}

/*
 * core.path_segments(path)
 * Returns the segments between the slashes of a path, decoded, as a sequence; nil when one of them cannot be
 * the name of anything (http/http_segment.h).
 */
int mb_http_path_segments(lua_State *L) {
  lua_settop(L, 1);
  size_t size;
  const char *path = luaL_checklstring(L, 1, &size), *end = path + size;
  luaL_Buffer b;
  lua_createtable(L, 4, 0);
  char *to = luaL_buffinitsize(L, &b, size);
  for (lua_Integer i = 1;; i++) {
    const char *slash = memchr(path, '/', (size_t)(end - path));
    struct mb_span segment = {path, (size_t)((slash ? slash : end) - path)};
    ptrdiff_t length = mb_http_segment_decode(to, segment);
    if (length < 0) {
      lua_pushnil(L);
      return 1;
    }
    lua_pushlstring(L, to, (size_t)length);
    lua_rawseti(L, 2, i);
    if (!slash) break;
    path = slash + 1;
  }
  lua_settop(L, 2);
  return 1;
}

/* ---- patterns of routes ---- */

/* Of route_pattern: its stack. */
enum { PATTERN = 1, SEGMENTS, NAMES, SEEN };

/* Throws away what route_pattern has made, and returns nil and "route PATTERN: " with a text. */
static int refuse(lua_State *L, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  lua_pushnil(L);
  lua_pushfstring(L, "route %s: ", lua_tostring(L, PATTERN));
  lua_pushvfstring(L, format, arguments);
  lua_concat(L, 2);
  va_end(arguments);
  return 2;
}

static bool is_name(struct mb_span name) {
  for (size_t i = 0; i < name.size; i++) {
    char c = name.data[i];
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    if (!letter && (i == 0 || c < '0' || c > '9')) return false;
  }
  return name.size > 0;
}

/* Adds the parameter that a segment is. Returns 0, or what refuse returns. */
static int add_parameter(lua_State *L, struct mb_span segment, bool is_last) {
  struct mb_span name = {segment.data + 1, segment.size - 1};
  lua_pushlstring(L, name.data, name.size);
  const char *text = lua_tostring(L, -1);
  if (!is_name(name)) return refuse(L, "\"%s\" is no name of a parameter", text);
  lua_pushvalue(L, -1);
  if (lua_rawget(L, SEEN) != LUA_TNIL) return refuse(L, "two parameters have the name %s", text);
  lua_pop(L, 1);
  if (segment.data[0] == '*' && !is_last) {
    return refuse(L, "nothing can follow *%s, which takes all the rest", text);
  }
  lua_pushvalue(L, -1);
  lua_pushboolean(L, 1);
  lua_rawset(L, SEEN);
  lua_rawseti(L, NAMES, (lua_Integer)lua_rawlen(L, NAMES) + 1);
  return 0;
}

/* Pushes the text that a segment stands for. Returns 0, or what refuse returns. */
static int push_fixed(lua_State *L, struct mb_span segment, bool is_last) {
  lua_pushlstring(L, segment.data, segment.size);
  const char *text = lua_tostring(L, -1);
  for (size_t i = 0; i < segment.size; i++) {
    char c = segment.data[i];
    if (c != ':' && c != '*') continue;
    return refuse(L, "\"%s\" is no parameter; for the character, write %s", text,
                  c == ':' ? "%3A" : "%2A");
  }
  if (segment.size == 0 && !is_last) return refuse(L, "it has an empty segment");
  char *to = lua_newuserdata(L, segment.size + 1);
  ptrdiff_t size = mb_http_segment_decode(to, segment);
  if (size < 0) return refuse(L, "no request can have the segment \"%s\"", text);
  lua_pushlstring(L, to, (size_t)size);
  lua_replace(L, -3);
  lua_pop(L, 1);
  return 0;
}

/* Pushes the texts of the segments with slashes between them; false when one of them has a "%". */
static void push_path(lua_State *L, lua_Integer count) {
  lua_pushliteral(L, "");
  for (lua_Integer i = 1; i <= count; i++) {
    if (i > 1) lua_pushliteral(L, "/");
    lua_rawgeti(L, SEGMENTS, i);
    lua_concat(L, i > 1 ? 3 : 2);
  }
  size_t size;
  const char *path = lua_tolstring(L, -1, &size);
  if (!memchr(path, '%', size)) return;
  lua_pop(L, 1);
  lua_pushboolean(L, 0);
}

/*
 * core.route_pattern(pattern)
 * Reads the pattern of a route, "/users/:id". Returns a sequence of its segments: a text, decoded, or false for
 * a parameter; a sequence of the names of the parameters; whether the last of them takes all that follows; and
 * the path without its first slash if the pattern fits no other, or false. Or returns nil and what is wrong.
 */
int mb_http_route_pattern(lua_State *L) {
  lua_settop(L, 1);
  if (lua_type(L, PATTERN) != LUA_TSTRING) {
    lua_pushnil(L);
    lua_pushfstring(L, "expected a pattern such as \"/users/:id\", got %s",
                    luaL_typename(L, PATTERN));
    return 2;
  }
  struct mb_span text;
  text.data = lua_tolstring(L, PATTERN, &text.size);
  const char *at = text.data, *end = at + text.size;
  if (at == end || *at != '/') return refuse(L, "it has to begin with a slash");
  if (memchr(at, '?', text.size) || memchr(at, '#', text.size)) {
    return refuse(L, "it is for the path of a URL only, without a query");
  }
  lua_createtable(L, 4, 0);
  lua_newtable(L);
  lua_newtable(L);
  bool rest = false;
  lua_Integer count = 0;
  while (at < end) {
    at++;
    const char *slash = memchr(at, '/', (size_t)(end - at));
    struct mb_span segment = {at, (size_t)((slash ? slash : end) - at)};
    bool is_parameter = segment.size > 0 && (*at == ':' || *at == '*');
    int refused = is_parameter ? add_parameter(L, segment, !slash) : push_fixed(L, segment, !slash);
    if (refused) return refused;
    rest = is_parameter && *at == '*';
    if (is_parameter) lua_pushboolean(L, 0);
    if (!rest) lua_rawseti(L, SEGMENTS, ++count);
    at = slash ? slash : end;
  }
  bool fixed = lua_rawlen(L, NAMES) == 0;
  lua_settop(L, NAMES);
  lua_pushboolean(L, rest);
  if (fixed) {
    push_path(L, count);
  } else {
    lua_pushboolean(L, 0);
  }
  return 4;
}
