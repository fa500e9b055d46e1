/* Header fields, cookies and form parameters as Lua tables. */
#include "api/http/http_fields.h"

#include <ctype.h>
#include <lauxlib.h>

#include "api/http/http_input.h"
#include "http/http_form.h"

/* Lua's hash looks at all bytes of a name up to this length. */
#define MB_HTTP_SHORT_NAME 31

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

/* Appends the string on top of the stack to the sequence table[key]. The key is below it. Pops both. */
static void append(lua_State *L, int table) {
  lua_pushvalue(L, -2);
  if (lua_rawget(L, table) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, -3);
    lua_pushvalue(L, -2);
    lua_rawset(L, table);
  }
  lua_insert(L, -2);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  lua_pop(L, 2);
}

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
    lua_pushlstring(L, field.value.data, field.value.size);
    append(L, 2);
  }
  return 1;
}

/*
 * input:cookies()
 * Returns a table: name -> value. If several cookies have one name, the first counts: clients send the one
 * with the longest path first (RFC 6265, section 5.4).
 */
int mb_http_input_cookies(lua_State *L) {
  const struct mb_http_input *in = mb_http_input_at(L, 1);
  lua_settop(L, 1);
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
      if (known) {
        lua_pop(L, 1);
        continue;
      }
      lua_pushlstring(L, value.data, value.size);
      lua_rawset(L, 2);
    }
  }
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
static int push_form(lua_State *L, struct mb_span form, char *bytes, lua_Integer most,
                     lua_Integer most_long) {
  const char *begin = form.data;
  struct mb_span name, value;
  lua_Integer long_names = 0, names = 0;
  lua_settop(L, 1);
  lua_newtable(L);
  lua_newtable(L);
  for (lua_Integer count = 0; mb_form_next(&form, &name, &value); count++) {
    if (count == most) return 0;
    push_decoded(L, name, bytes ? bytes + (name.data - begin) : NULL);
    bool is_long = lua_rawlen(L, -1) > MB_HTTP_SHORT_NAME;
    lua_pushvalue(L, -1);
    if (lua_rawget(L, 2) == LUA_TNIL) {
      if (is_long && ++long_names > most_long) return 0;
      lua_pushvalue(L, -2);
      lua_rawseti(L, 3, ++names);
    }
    lua_pop(L, 1);
    push_decoded(L, value, bytes ? bytes + (value.data - begin) : NULL);
    append(L, 2);
  }
  return 2;
}

/*
 * core.form(text, first, most, most_long)
 * Decodes a form or a query (application/x-www-form-urlencoded) from byte `first` on.
 * Returns a table: name -> sequence of values; and the names in the order of their first parameters.
 * Returns nil when there are more than `most` parameters, or more than `most_long` different names that are
 * longer than MB_HTTP_SHORT_NAME: Lua's hash skips bytes of such names, so a client could make them collide,
 * and each look-up would be compared with all of them.
 */
int mb_http_form(lua_State *L) {
  struct mb_span form;
  form.data = luaL_checklstring(L, 1, &form.size);
  lua_Integer first = luaL_checkinteger(L, 2);
  size_t skip = (size_t)first - 1 < form.size ? (size_t)first - 1 : form.size;
  form.data += skip;
  form.size -= skip;
  return push_form(L, form, NULL, luaL_checkinteger(L, 3), luaL_checkinteger(L, 4));
}

/*
 * input:form(most, most_long)
 * The same for the whole body, all of which is in the stash. Decodes it there, as it may be large, and then
 * frees the stash.
 */
int mb_http_input_form(lua_State *L) {
  struct mb_http_input *in = mb_http_input_at(L, 1);
  struct mb_buf *stash = &in->stash;
  lua_Integer most = luaL_checkinteger(L, 2), most_long = luaL_checkinteger(L, 3);
  mb_buf_fit(stash, in->handle->alloc);
  struct mb_span form = {mb_buf_bytes(stash), mb_buf_len(stash)};
  int results =
      push_form(L, form, stash->data ? stash->data + stash->start : NULL, most, most_long);
  mb_buf_free(stash, in->handle->alloc);
  return results;
}

/*
 * core.list(text, sequence)
 * Appends the elements of a comma-separated field value to the sequence.
 */
int mb_http_list(lua_State *L) {
  struct mb_span list, element;
  list.data = luaL_checklstring(L, 1, &list.size);
  luaL_checktype(L, 2, LUA_TTABLE);
  while (mb_http_list_next(&list, &element)) {
    lua_pushlstring(L, element.data, element.size);
    lua_rawseti(L, 2, (lua_Integer)lua_rawlen(L, 2) + 1);
  }
  return 0;
}
