/* Header fields, cookies and form parameters as Lua tables. */
#include "api/http/http_fields.h"

#include <ctype.h>
#include <lauxlib.h>

#include "api/http/http_input.h"
#include "http/http_form.h"
#include "http/http_names.h"
#include "http/http_pattern.h"

void mb_http_push_span(lua_State *L, struct mb_span span) {
  if (span.data) {
    lua_pushlstring(L, span.data, span.size);
  } else {
    lua_pushnil(L);
  }
}

/*
 * input:field(name)
 * Returns the value of the first field with a name, which is in lower case; or nil.
 */
int mb_http_input_field(lua_State *L) {
  const struct mb_http_input *in = mb_http_input_at(L, 1);
  const struct mb_http_field *field = mb_http_head_field(&in->head, luaL_checkstring(L, 2));
  mb_http_push_span(L, field ? field->value : (struct mb_span){NULL, 0});
  return 1;
}

void mb_http_push_lower(lua_State *L, struct mb_span text) {
  luaL_Buffer b;
  char *to = luaL_buffinitsize(L, &b, text.size);
  for (size_t i = 0; i < text.size; i++) to[i] = (char)tolower((unsigned char)text.data[i]);
  luaL_pushresultsize(&b, text.size);
}

/*
 * Pushes the sequence table[key]; makes one when there is none. The key is on top of the stack, and stays.
 * Looks no name up more often than is needed, as those of a client may collide.
 * Returns whether it has made one.
 */
static bool push_sequence(lua_State *L, int table) {
  lua_pushvalue(L, -1);
  if (lua_rawget(L, table) == LUA_TTABLE) return false;
  lua_pop(L, 1);
  lua_createtable(L, 1, 0);
  lua_pushvalue(L, -2);
  lua_pushvalue(L, -2);
  lua_rawset(L, table);
  return true;
}

/*
 * Counts the string on top of the stack as a value.
 * seen    a table with the strings that were counted
 * is_key  whether it names something, so that its hash is computed whatever its size is
 * Returns whether the values are still within the limits.
 */
static bool count_value(lua_State *L, struct mb_http_names *names, int seen, bool is_key) {
  struct mb_span value;
  value.data = lua_tolstring(L, -1, &value.size);
  if (!mb_http_names_counts(value.size, is_key)) return true;
  /* Lua has one copy of a shorter string, so its address says which one it is, and collides with no other. */
  if (value.size <= MB_HTTP_INTERNED) {
    lua_pushlightuserdata(L, (void *)value.data);
  } else {
    lua_pushvalue(L, -1);
  }
  lua_pushvalue(L, -1);
  bool known = lua_rawget(L, seen) != LUA_TNIL;
  lua_pop(L, 1);
  if (known) {
    lua_pop(L, 1);
    return true;
  }
  lua_pushvalue(L, -2); /* the table keeps it: no other string gets its address */
  lua_rawset(L, seen);
  return mb_http_names_value(names, value);
}

/* Pops a value, and appends it to the sequence below it. */
static void append(lua_State *L) { lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1); }

/*
 * input:fields()
 * Returns a table: name in lower case -> sequence of values, one for each field line.
 */
int mb_http_input_fields(lua_State *L) {
  const struct mb_http_input *in = mb_http_input_at(L, 1);
  lua_settop(L, 1);
  lua_createtable(L, 0, (int)in->head.field_count);
  for (unsigned i = 0; i < in->head.field_count; i++) {
    struct mb_http_field field = in->head.fields[i];
    mb_http_push_lower(L, field.name);
    push_sequence(L, 2);
    lua_pushlstring(L, field.value.data, field.value.size);
    append(L);
    lua_pop(L, 2);
  }
  return 1;
}

/*
 * input:cookies()
 * Returns a table: name -> value. If several cookies have one name, the first counts: clients send the one
 * with the longest path first (RFC 6265, section 5.4). Returns nil when the names exceed a limit of
 * http_names.h.
 */
int mb_http_input_cookies(lua_State *L) {
  const struct mb_http_input *in = mb_http_input_at(L, 1);
  struct mb_http_names names = MB_HTTP_NAMES_INIT;
  lua_settop(L, 1);
  lua_newtable(L);
  lua_newtable(L);
  for (unsigned i = 0; i < in->head.field_count; i++) {
    struct mb_http_field field = in->head.fields[i];
    struct mb_span name, value;
    if (!mb_http_equals(field.name, "cookie")) continue;
    while (mb_cookie_next(&field.value, &name, &value)) {
      lua_pushlstring(L, name.data, name.size);
      lua_pushvalue(L, -1);
      bool known = lua_rawget(L, 2) != LUA_TNIL;
      lua_pop(L, 1);
      if (!mb_http_names_add(&names, name.size, !known)) return 0;
      if (known) {
        lua_pop(L, 1);
        continue;
      }
      lua_pushlstring(L, value.data, value.size);
      if (!count_value(L, &names, 3, false)) return 0;
      lua_rawset(L, 2);
    }
  }
  lua_settop(L, 2);
  return 1;
}

/* Pushes a decoded text. to: room for encoded.size bytes, which may be those of encoded; NULL: none. */
static void push_decoded(lua_State *L, struct mb_span encoded, char *to) {
  if (to) {
    lua_pushlstring(L, to, mb_form_decode(to, encoded, true));
    return;
  }
  luaL_Buffer b;
  to = luaL_buffinitsize(L, &b, encoded.size);
  luaL_pushresultsize(&b, mb_form_decode(to, encoded, true));
}

/*
 * Pushes what core.form returns for a form.
 * bytes  where the form begins, if it may be decoded in its place; or NULL
 */
static int push_form(lua_State *L, struct mb_span form, char *bytes) {
  const char *begin = form.data;
  struct mb_span name, value;
  struct mb_http_names names = MB_HTTP_NAMES_INIT;
  lua_settop(L, 1);
  lua_newtable(L);
  lua_newtable(L);
  lua_newtable(L);
  for (lua_Integer different = 0; mb_form_next(&form, &name, &value);) {
    push_decoded(L, name, bytes ? bytes + (name.data - begin) : NULL);
    size_t size = lua_rawlen(L, -1);
    bool is_new = push_sequence(L, 2);
    if (size > MB_HTTP_NAME_MAX || !mb_http_names_add(&names, size, is_new)) return 0;
    if (is_new) {
      lua_pushvalue(L, -2);
      lua_rawseti(L, 3, ++different);
    }
    push_decoded(L, value, bytes ? bytes + (value.data - begin) : NULL);
    if (!count_value(L, &names, 4, false)) return 0;
    append(L);
    lua_pop(L, 2);
  }
  lua_settop(L, 3);
  return 2;
}

/*
 * core.form(text, first)
 * Decodes a form or a query (application/x-www-form-urlencoded) from byte `first` on.
 * Returns a table: name -> sequence of values; and the names in the order of their first parameters.
 * Returns nil when the names exceed a limit of http_names.h.
 */
int mb_http_form(lua_State *L) {
  struct mb_span form;
  form.data = luaL_checklstring(L, 1, &form.size);
  lua_Integer first = luaL_checkinteger(L, 2);
  size_t skip = (size_t)first - 1 < form.size ? (size_t)first - 1 : form.size;
  form.data += skip;
  form.size -= skip;
  return push_form(L, form, NULL);
}

/*
 * input:form(most)
 * The same for the whole body, all of which is in the stash. Decodes it there, as it may be large, and then
 * frees the stash. Returns false when the stash has more than `most` bytes.
 */
int mb_http_input_form(lua_State *L) {
  struct mb_http_input *in = mb_http_input_at(L, 1);
  struct mb_buf *stash = &in->stash;
  lua_Integer most = luaL_checkinteger(L, 2);
  if (most < 0 || mb_buf_len(stash) > (size_t)most) {
    lua_pushboolean(L, 0);
    return 1;
  }
  mb_buf_fit(stash, in->handle->alloc);
  struct mb_span form = {mb_buf_bytes(stash), mb_buf_len(stash)};
  int results = push_form(L, form, stash->data ? stash->data + stash->start : NULL);
  mb_buf_free(stash, in->handle->alloc);
  return results;
}

/*
 * core.list(lines)
 * Returns the elements of comma-separated field values, a sequence of strings, as a sequence; or nil when
 * they exceed a limit of http_names.h: they may become keys.
 */
int mb_http_list(lua_State *L) {
  struct mb_http_names names = MB_HTTP_NAMES_INIT;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_newtable(L);
  for (lua_Integer line = 1; lua_rawgeti(L, 1, line) == LUA_TSTRING; line++) {
    struct mb_span list, element;
    list.data = lua_tolstring(L, -1, &list.size);
    while (mb_http_list_next(&list, &element)) {
      if (!mb_http_names_add(&names, element.size, true)) return 0;
      lua_pushlstring(L, element.data, element.size);
      lua_rawseti(L, 2, names.count);
    }
    lua_pop(L, 1);
  }
  lua_settop(L, 2);
  return 1;
}

static int count(lua_State *L) {
  struct mb_http_names *names = lua_touserdata(L, lua_upvalueindex(1));
  lua_settop(L, 2);
  bool good = true;
  if (lua_isboolean(L, 2)) {
    good = mb_http_names_add(names, lua_rawlen(L, 1), lua_toboolean(L, 2));
  } else if (lua_isstring(L, 1)) {
    bool is_key = !lua_isnil(L, 2);
    lua_settop(L, 1);
    good = count_value(L, names, lua_upvalueindex(2), is_key);
  }
  lua_pushboolean(L, good);
  return 1;
}

/*
 * core.counter()
 * Returns a function for names and values that Lua puts into tables. It returns whether they are still within
 * the limits of http_names.h. Its arguments are a name and whether it is new; or a value, which may be nil; or a
 * value and "key", for a string that is a key when only strings that collide are to be limited.
 */
int mb_http_counter(lua_State *L) {
  struct mb_http_names *names = lua_newuserdata(L, sizeof *names);
  *names = MB_HTTP_NAMES_INIT;
  lua_newtable(L);
  lua_pushcclosure(L, count, 2);
  return 1;
}

static int find_pattern(lua_State *L) {
  const struct mb_http_pattern *pattern = lua_touserdata(L, lua_upvalueindex(1));
  struct mb_span name;
  name.data = luaL_checklstring(L, 1, &name.size);
  unsigned long steps = (unsigned long)luaL_checkinteger(L, 2);
  int found = mb_http_pattern_find(pattern, name, &steps);
  if (found < 0) return 0;
  lua_pushboolean(L, found);
  lua_pushinteger(L, (lua_Integer)steps);
  return 2;
}

/*
 * core.pattern(pattern)
 * Returns a function(name, steps) that returns whether a name matches the Lua pattern, and how many of the
 * steps are left; nothing when they were not enough. Or returns nil and what is wrong with the pattern.
 */
int mb_http_pattern(lua_State *L) {
  struct mb_span text;
  text.data = luaL_checklstring(L, 1, &text.size);
  struct mb_http_pattern *pattern =
      lua_newuserdata(L, sizeof *pattern + text.size * sizeof *pattern->items);
  const char *wrong = mb_http_pattern_read(text, pattern);
  if (wrong) {
    lua_pushnil(L);
    lua_pushstring(L, wrong);
    return 2;
  }
  lua_pushcclosure(L, find_pattern, 1);
  return 1;
}
