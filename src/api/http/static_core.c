/* The table of mb.static.core, and its functions that need no file. */
#include "api/http/static_core.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "api/http/http_input.h"
#include "api/http/static_file.h"
#include "base/rare.h"
#include "http/http_coding.h"
#include "http/http_condition.h"
#include "http/http_date.h"
#include "http/http_file_path.h"
#include "http/http_media.h"
#include "http/http_range.h"
#include "state/lazy_functions.h"

#define BOUNDARY_BYTES 16 /* of chance, as many as in a UUID */

/*
 * core.path(path, decoded)
 * path  that of a URL, without its leading slash; decoded: its segments are decoded already
 * Returns the path of a file, "." for the root itself; whether it ends with a slash, or is the root; whether it is
 * hidden (http/http_file_path.h). Or nil and the status that refuses it, 400 or 404.
 */
static int path(lua_State *L) {
  struct mb_span from;
  struct mb_http_file_path found;
  luaL_Buffer b;
  from.data = luaL_checklstring(L, 1, &from.size);
  bool decoded = lua_toboolean(L, 2);
  char *to = luaL_buffinitsize(L, &b, from.size + 2);
  int status = mb_http_file_path(to, from, decoded, &found);
  if (status != 0) {
    lua_pushnil(L);
    lua_pushinteger(L, status);
    return 2;
  }
  luaL_pushresultsize(&b, found.size);
  lua_pushboolean(L, found.is_directory);
  lua_pushboolean(L, found.is_hidden);
  return 3;
}

/* core.media_type(extension): returns the type, which is built in; or nil. */
static int media_type(lua_State *L) {
  struct mb_span extension;
  extension.data = luaL_checklstring(L, 1, &extension.size);
  lua_pushstring(L, mb_http_media_type(extension));
  return 1;
}

/* Pushes the positions of ranges as a sequence: first, last, first, last, ... */
static void push_ranges(lua_State *L, const struct mb_http_range *ranges, int count) {
  lua_createtable(L, 2 * count, 0);
  for (int i = 0; i < count; i++) {
    lua_pushinteger(L, (lua_Integer)ranges[i].first);
    lua_rawseti(L, -2, 2 * i + 1);
    lua_pushinteger(L, (lua_Integer)ranges[i].last);
    lua_rawseti(L, -2, 2 * i + 2);
  }
}

/*
 * core.decide(input, etag, weak, modified, size, with_ranges)
 * Decides how a request for a file is answered. input: that of the request. etag, weak, modified, size: as core.open
 * returns them. with_ranges: the method is GET.
 * Returns 200, 304, 412 or 416; or 206 and the positions of the bytes: first, last, first, last, ...
 */
static int decide(lua_State *L) {
  const struct mb_http_head *head = &mb_http_input_at(L, 1)->head;
  struct mb_http_validators v = {.is_weak = lua_toboolean(L, 3)};
  struct mb_http_range ranges[MB_HTTP_RANGES_MAX];
  v.etag.data = luaL_checklstring(L, 2, &v.etag.size);
  v.modified = luaL_checkinteger(L, 4);
  uint64_t size = (uint64_t)luaL_checkinteger(L, 5);
  int64_t now = time(NULL);
  int status = (int)mb_http_conditions(head, &v, now);
  const struct mb_http_field *range =
      status == 200 && lua_toboolean(L, 6) ? mb_http_head_only(head, "range") : NULL;
  if (!range || !mb_http_range_counts(head, &v, now)) {
    lua_pushinteger(L, status);
    return 1;
  }
  int count = mb_http_ranges_read(range->value, size, ranges);
  lua_pushinteger(L, count > 0 ? 206 : count == MB_HTTP_RANGES_WRONG ? 416 : 200);
  if (count <= 0) return 1;
  push_ranges(L, ranges, count);
  return 2;
}

/* core.weight(input, coding): returns the weight of a content coding for the client, 0 to 1000. */
static int weight(lua_State *L) {
  const struct mb_http_input *in = mb_http_input_at(L, 1);
  lua_pushinteger(L, mb_http_coding_weight(&in->head, luaL_checkstring(L, 2)));
  return 1;
}

/* core.boundary(): returns a boundary between parts, which nobody can have foreseen and put into a file. */
static int boundary(lua_State *L) {
  static const char digits[] = "0123456789abcdef";
  unsigned char bytes[BOUNDARY_BYTES];
  char text[2 * BOUNDARY_BYTES];
  if (mb_rare_getrandom(bytes, sizeof bytes) != (ssize_t)sizeof bytes)
    return luaL_error(L, "getrandom: %s", strerror(errno));
  for (size_t i = 0; i < sizeof bytes; i++) {
    text[2 * i] = digits[bytes[i] >> 4];
    text[2 * i + 1] = digits[bytes[i] & 15];
  }
  lua_pushlstring(L, text, sizeof text);
  return 1;
}

/* core.date(seconds): returns seconds since 1970 as a date of HTTP; throws when it has none. */
static int date(lua_State *L) {
  char text[MB_HTTP_DATE_SIZE];
  lua_Integer when = luaL_checkinteger(L, 1);
  luaL_argcheck(L, when >= 0 && when <= MB_HTTP_DATE_LAST, 1, "not within the years 1970 to 9999");
  mb_http_date_text(text, when);
  lua_pushlstring(L, text, sizeof text - 1);
  return 1;
}

/* core.parse_date(text): returns seconds since 1970; nil when the text is no date of HTTP. */
static int parse_date(lua_State *L) {
  struct mb_span text;
  int64_t when;
  text.data = luaL_checklstring(L, 1, &text.size);
  if (mb_http_date_parse(text, time(NULL), &when)) {
    lua_pushinteger(L, when);
  } else {
    lua_pushnil(L);
  }
  return 1;
}

static const luaL_Reg functions[] = {
    {"boundary", boundary},     {"date", date},
    {"decide", decide},         {"list", mb_static_list},
    {"media_type", media_type}, {"open", mb_static_open},
    {"parse_date", parse_date}, {"path", path},
    {"read", mb_static_read},   {"root", mb_static_root},
    {"weight", weight},         {NULL, NULL},
};

int mb_static_core_open(lua_State *L) {
  mb_lazy_functions_table(L, functions);
  return 1;
}
