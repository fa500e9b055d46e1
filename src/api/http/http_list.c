/*
 * Header fields as a list: a table that holds three values for each field, from index 1 on: name, value, and
 * whether the value is a secret. The parts of the request line and the status line are fields whose names
 * begin with a colon, as in HTTP/2 (RFC 9113, section 8.3). lua-http's headers objects are made from it.
 */
#include "api/http/http_list.h"

#include <ctype.h>
#include <lauxlib.h>
#include <string.h>

#include "api/http/http_fields.h"
#include "api/http/http_input.h"

/* ---- requests ---- */

/* Appends a field to the list on top of the stack. */
static void add(lua_State *L, lua_Integer *count, const char *name, size_t name_size,
                struct mb_span value, bool secret) {
  lua_Integer at = 3 * (*count)++;
  lua_pushlstring(L, name, name_size);
  lua_rawseti(L, -2, at + 1);
  lua_pushlstring(L, value.data, value.size);
  lua_rawseti(L, -2, at + 2);
  lua_pushboolean(L, secret);
  lua_rawseti(L, -2, at + 3);
}

static void add_pseudo(lua_State *L, lua_Integer *count, const char *name, struct mb_span value) {
  if (value.data) add(L, count, name, strlen(name), value, false);
}

/* Returns whether a field's value is a secret: intermediaries must not keep it (RFC 7541, section 7.1.3). */
static bool is_secret(struct mb_span name) {
  return mb_http_equals(name, "authorization") || mb_http_equals(name, "cookie") ||
         mb_http_equals(name, "proxy-authorization") || mb_http_equals(name, "set-cookie");
}

/*
 * input:list()
 * Returns the head that was read last as a list, and how many fields it has. ":authority" is the host of the
 * target if that has one, otherwise the Host field. The names of the other fields are in lower case.
 */
int mb_http_input_list(lua_State *L) {
  const struct mb_http_head *head = &mb_http_input_at(L, 1)->head;
  lua_Integer count = 0;
  bool has_host = false;
  lua_createtable(L, 3 * ((int)head->field_count + 4), 2);
  add_pseudo(L, &count, ":method", head->method);
  add_pseudo(L, &count, ":path", head->target);
  add_pseudo(L, &count, ":scheme", (struct mb_span){"https", head->secure ? 5 : 4});
  for (unsigned i = 0; i < head->field_count; i++) {
    struct mb_span name = head->fields[i].name;
    char lower[64];
    if (mb_http_equals(name, "host")) {
      add_pseudo(L, &count, ":authority", head->host);
      has_host = true;
    } else if (name.size <= sizeof lower) {
      for (size_t k = 0; k < name.size; k++) lower[k] = (char)tolower((unsigned char)name.data[k]);
      add(L, &count, lower, name.size, head->fields[i].value, is_secret(name));
    } else {
      mb_http_push_lower(L, name);
      size_t size;
      const char *text = lua_tolstring(L, -1, &size);
      lua_insert(L, -2);
      add(L, &count, text, size, head->fields[i].value, false);
      lua_remove(L, -2);
    }
  }
  if (!has_host) add_pseudo(L, &count, ":authority", head->host);
  lua_pushinteger(L, count);
  return 2;
}

/* ---- responses ---- */

/* The contents of the fields that are not sent as they are. */
struct special {
  struct mb_span status, length;
  bool has_connection, closes; /* Connection, and "close" in it */
  bool has_coding, other_coding;
};

/* Pushes nil, and a message about the field. Returns 2. */
static int push_wrong(lua_State *L, struct mb_span name, const char *why) {
  lua_pushnil(L);
  lua_pushlstring(L, name.data, name.size);
  lua_pushfstring(L, "header \"%s\": %s", lua_tostring(L, -1), why);
  lua_remove(L, -2);
  return 2;
}

static const char *note_connection(struct special *s, struct mb_span list) {
  struct mb_span option;
  s->has_connection = true;
  while (mb_http_list_next(&list, &option)) {
    if (!mb_http_all(option, MB_HTTP_TOKEN)) return "invalid connection option";
    s->closes |= mb_http_equals(option, "close");
  }
  return NULL;
}

static const char *note_length(struct special *s, struct mb_span value) {
  if (value.size == 0 || value.size > 18 || !mb_http_all(value, MB_HTTP_DIGIT)) {
    return "invalid content-length";
  }
  if (s->length.data &&
      (s->length.size != value.size || memcmp(s->length.data, value.data, value.size) != 0)) {
    return "more than one content-length";
  }
  s->length = value;
  return NULL;
}

static const char *note_status(struct special *s, struct mb_span value) {
  if (value.size != 3 || !mb_http_all(value, MB_HTTP_DIGIT) || value.data[0] == '0') {
    return "invalid status code";
  }
  if (!s->status.data) s->status = value;
  return NULL;
}

/*
 * Notes a field that is not sent as it is. Returns whether the field is one of those, or is invalid:
 * *ret_wrong is the reason then, otherwise NULL.
 */
static bool is_special(struct special *s, struct mb_span name, struct mb_span value,
                       const char **ret_wrong) {
  *ret_wrong = NULL;
  if (name.size > 0 && name.data[0] == ':') {
    *ret_wrong =
        mb_http_equals(name, ":status") ? note_status(s, value) : "does not belong in a response";
    return true;
  }
  *ret_wrong = mb_http_field_wrong(name, value);
  if (*ret_wrong) return true;
  if (mb_http_equals(name, "content-length")) {
    *ret_wrong = note_length(s, value);
  } else if (mb_http_equals(name, "connection")) {
    *ret_wrong = note_connection(s, value);
  } else if (mb_http_equals(name, "transfer-encoding")) {
    s->has_coding = true;
    s->other_coding |= !mb_http_equals(value, "chunked");
  } else {
    return false;
  }
  return true;
}

/* Returns a string of the list, which keeps it alive. data is NULL when there is another value. */
static struct mb_span string_at(lua_State *L, lua_Integer at) {
  struct mb_span text = {NULL, 0};
  if (lua_rawgeti(L, 1, at) == LUA_TSTRING) text.data = lua_tolstring(L, -1, &text.size);
  lua_pop(L, 1);
  return text;
}

/* Pushes the options of all Connection fields in lower case, joined by commas. */
static void push_connection(lua_State *L, lua_Integer count) {
  luaL_Buffer b;
  bool first = true;
  luaL_buffinit(L, &b);
  for (lua_Integer i = 0; i < count; i++) {
    struct mb_span name = string_at(L, 3 * i + 1), option;
    if (!mb_http_equals(name, "connection")) continue;
    struct mb_span list = string_at(L, 3 * i + 2);
    while (mb_http_list_next(&list, &option)) {
      if (!first) luaL_addchar(&b, ',');
      first = false;
      for (size_t k = 0; k < option.size; k++) {
        luaL_addchar(&b, (char)tolower((unsigned char)option.data[k]));
      }
    }
  }
  luaL_pushresult(&b);
}

static void push_length(lua_State *L, struct mb_span digits) {
  if (!digits.data) {
    lua_pushnil(L);
    return;
  }
  lua_Integer length = 0;
  for (size_t i = 0; i < digits.size; i++) length = length * 10 + (digits.data[i] - '0');
  lua_pushinteger(L, length);
}

/*
 * core.list_lines(list, count)
 * Takes the fields of a response or of a trailer section.
 * Returns the field lines, with CR LF, of those that are sent as they are; the status as text, or nil;
 * Content-Length as an integer, or nil; the options of Connection, or nil; whether "close" is among them;
 * whether there is a Transfer-Encoding; whether that is another one than chunked. Or returns nil and a
 * message about a field.
 */
int mb_http_list_lines(lua_State *L) {
  struct special s = {{NULL, 0}, {NULL, 0}, false, false, false, false};
  luaL_Buffer b;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_Integer count = luaL_checkinteger(L, 2);
  luaL_buffinit(L, &b);
  for (lua_Integer i = 0; i < count; i++) {
    const char *wrong;
    struct mb_span name = string_at(L, 3 * i + 1), value = string_at(L, 3 * i + 2);
    if (!name.data) return push_wrong(L, (struct mb_span){"?", 1}, "the name is no string");
    if (!value.data) return push_wrong(L, name, "the value is no string");
    if (is_special(&s, name, value, &wrong)) {
      if (wrong) return push_wrong(L, name, wrong);
      continue;
    }
    luaL_addlstring(&b, name.data, name.size);
    luaL_addlstring(&b, ": ", 2);
    luaL_addlstring(&b, value.data, value.size);
    luaL_addlstring(&b, "\r\n", 2);
  }
  luaL_pushresult(&b);
  mb_http_push_span(L, s.status);
  push_length(L, s.length);
  if (s.has_connection) {
    push_connection(L, count);
  } else {
    lua_pushnil(L);
  }
  lua_pushboolean(L, s.closes);
  lua_pushboolean(L, s.has_coding);
  lua_pushboolean(L, s.other_coding);
  return 7;
}
