/* Texts of the values that scripts throw. No value may make this throw, or the text long. */
#include "state/error_text.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/log_escape.h"

/* A message may have this many bytes; a line of the log takes less, a message may have some lines. */
#define MESSAGE_MAX 4096

/* The limits of an object: together they leave a text that fits into one line of the log. */
enum { TEXT_MAX = 1600, STRING_MAX = 200, FIELDS_MAX = 30, LEVELS_MAX = 2 };

struct text {
  size_t len;
  bool is_cut;              /* something did not fit: nothing is added any more */
  char bytes[TEXT_MAX + 1]; /* ends with a NUL */
};

/* Adds bytes as the log shows them, so that they cannot break its lines. */
static void add_shown(struct text *t, const char *bytes, size_t len) {
  const char *end = bytes + len;
  if (t->is_cut) return;
  t->len += mb_log_show(t->bytes + t->len, TEXT_MAX - t->len, &bytes, end);
  t->bytes[t->len] = '\0';
  t->is_cut = bytes < end;
}

static void add(struct text *t, const char *what) { add_shown(t, what, strlen(what)); }

static void add_string(struct text *t, const char *bytes, size_t len) {
  const char *end = bytes + (len < STRING_MAX ? len : STRING_MAX);
  add(t, "\"");
  while (bytes < end) {
    const char *quote = memchr(bytes, '"', (size_t)(end - bytes));
    add_shown(t, bytes, (size_t)((quote ? quote : end) - bytes));
    if (quote) add(t, "\\\"");
    bytes = quote ? quote + 1 : end;
  }
  add(t, "\"");
  if (len <= STRING_MAX) return;
  char size[40];
  snprintf(size, sizeof size, "... (%zu bytes)", len);
  add(t, size);
}

/* Returns whether a string can stand as a field's name in Lua. */
static bool is_name(lua_State *L, int index) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
  size_t len;
  const char *bytes = lua_tolstring(L, index, &len);
  return len > 0 && len <= STRING_MAX && strspn(bytes, letters) == len &&
         (*bytes < '0' || *bytes > '9');
}

static void add_number(struct text *t, lua_State *L, int index) {
  char number[40];
  if (lua_isinteger(L, index)) {
    snprintf(number, sizeof number, LUA_INTEGER_FMT, lua_tointeger(L, index));
  } else {
    snprintf(number, sizeof number, LUA_NUMBER_FMT, lua_tonumber(L, index));
  }
  add(t, number);
}

/* Adds a userdata by the name of its type. */
static void add_userdata(struct text *t, lua_State *L, int index) {
  int type = luaL_getmetafield(L, index, "__name");
  add(t, "userdata");
  if (type == LUA_TSTRING) {
    size_t len;
    const char *name = lua_tolstring(L, -1, &len);
    add(t, " ");
    add_shown(t, name, len < STRING_MAX ? len : STRING_MAX);
  }
  if (type != LUA_TNIL) lua_pop(L, 1);
}

static void add_table(struct text *t, lua_State *L, int index, int levels);

/* levels: how many levels of tables are shown */
static void add_value(struct text *t, lua_State *L, int index, int levels) {
  size_t len;
  const char *bytes;
  switch (lua_type(L, index)) {
    case LUA_TBOOLEAN:
      add(t, lua_toboolean(L, index) ? "true" : "false");
      break;
    case LUA_TNUMBER:
      add_number(t, L, index);
      break;
    case LUA_TSTRING:
      bytes = lua_tolstring(L, index, &len);
      add_string(t, bytes, len);
      break;
    case LUA_TTABLE:
      add_table(t, L, index, levels);
      break;
    case LUA_TUSERDATA:
      add_userdata(t, L, index);
      break;
    default:
      add(t, luaL_typename(L, index));
  }
}

/* Adds a key with what stands behind it; nothing if it is the next integer of a sequence. */
static void add_key(struct text *t, lua_State *L, int index, lua_Integer *next) {
  if (lua_isinteger(L, index) && lua_tointeger(L, index) == *next) {
    ++*next;
  } else if (lua_type(L, index) == LUA_TSTRING && is_name(L, index)) {
    add(t, lua_tostring(L, index));
    add(t, " = ");
  } else {
    add(t, "[");
    add_value(t, L, index, 0);
    add(t, "] = ");
  }
}

static void add_table(struct text *t, lua_State *L, int index, int levels) {
  if (levels == 0 || !lua_checkstack(L, 4)) {
    add(t, "{...}");
    return;
  }
  lua_Integer next = 1;
  int table = lua_absindex(L, index), fields = 0;
  add(t, "{");
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    if (fields > 0) add(t, ", ");
    if (fields++ == FIELDS_MAX || t->is_cut) {
      add(t, "...");
      lua_pop(L, 2);
      break;
    }
    add_key(t, L, -2, &next);
    add_value(t, L, -1, levels - 1);
  }
  add(t, "}");
}

/* Pushes a message, or as much of it as the log takes in one line, and its size. */
static void push_message(lua_State *L, int index) {
  size_t len;
  const char *message = lua_tolstring(L, index, &len);
  if (len <= MESSAGE_MAX) {
    lua_pushvalue(L, index);
    return;
  }
  struct text t = {.len = 0};
  add_shown(&t, message, len);
  lua_pushfstring(L, "%s... (%I bytes)", t.bytes, (LUAI_UACINT)len);
}

/* Pushes what __tostring returns. Returns false, with nothing pushed, if it throws or returns no string. */
static bool push_by_tostring(lua_State *L, int index) {
  lua_pushvalue(L, index);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK && lua_type(L, -1) == LUA_TSTRING) return true;
  lua_pop(L, 1);
  return false;
}

void mb_error_text_push(lua_State *L, int index) {
  index = lua_absindex(L, index);
  if (lua_type(L, index) == LUA_TNUMBER || lua_type(L, index) == LUA_TSTRING) {
    lua_pushvalue(L, index); /* lua_tolstring changes a number */
    push_message(L, -1);
    lua_remove(L, -2);
    return;
  }
  bool has_tostring = luaL_getmetafield(L, index, "__tostring") != LUA_TNIL;
  if (has_tostring && push_by_tostring(L, index)) {
    push_message(L, -1);
    lua_remove(L, -2);
    return;
  }
  struct text t = {.len = 0};
  add(&t, "error object: ");
  add_value(&t, L, index, LEVELS_MAX);
  if (has_tostring) add(&t, " (its __tostring has failed)");
  lua_pushfstring(L, "%s%s", t.bytes, t.is_cut ? "..." : "");
}
