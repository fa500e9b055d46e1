/* src/state/error_text.c: the texts of thrown values; none of them throws, or makes the text long. */
#include "state/error_text.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>

#include "../../lib/tap.h"

static int push(lua_State *L) {
  mb_error_text_push(L, 1);
  return 1;
}

/* Returns the text of the value of a Lua expression. */
static const char *text_of(lua_State *L, const char *expression) {
  lua_settop(L, 0);
  lua_pushcfunction(L, push);
  lua_pushfstring(L, "return %s", expression);
  if (luaL_dostring(L, lua_tostring(L, -1)) != LUA_OK) tap_bail(lua_tostring(L, -1));
  lua_remove(L, -2);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) tap_bail(lua_tostring(L, -1));
  return lua_tostring(L, -1);
}

static void texts(lua_State *L) {
  static const struct {
    const char *expression, *want;
  } cases[] = {
      {"'a message'", "a message"},
      {"'two\\nlines'", "two\nlines"},
      {"42", "42"},
      {"0.5", "0.5"},
      {"nil", "error object: nil"},
      {"false", "error object: false"},
      {"print", "error object: function"},
      {"coroutine.create(print)", "error object: thread"},
      {"{}", "error object: {}"},
      {"{code = 5}", "error object: {code = 5}"},
      {"{'a', 'b', [4] = 'd'}", "error object: {\"a\", \"b\", [4] = \"d\"}"},
      {"{[0.5] = 1.5}", "error object: {[0.5] = 1.5}"},
      {"{[true] = -1}", "error object: {[true] = -1}"},
      {"{['a b'] = 1}", "error object: {[\"a b\"] = 1}"},
      {"{['7up'] = 1}", "error object: {[\"7up\"] = 1}"},
      {"{[''] = ''}", "error object: {[\"\"] = \"\"}"},
      {"{[{}] = {}}", "error object: {[{...}] = {}}"},
      {"{a = {b = {c = {}}}}", "error object: {a = {b = {...}}}"},
      {"{x = '\"}, y = \\n\\27[m\\0\\xff'}",
       "error object: {x = \"\\\"}, y = \\x0a\\x1b[m\\x00\\xff\"}"},
      {"io.stdout", "file (0x"},
      {"setmetatable({}, {__tostring = function() return 'by itself' end})", "by itself"},
      {"setmetatable({a = 1}, {__tostring = function() error('no') end})",
       "error object: {a = 1} (its __tostring has failed)"},
      {"setmetatable({a = 1}, {__tostring = function() return 7 end})",
       "error object: {a = 1} (its __tostring has failed)"},
      {"setmetatable({a = 1}, {__tostring = false})",
       "error object: {a = 1} (its __tostring has failed)"},
      {"setmetatable({a = 1}, {__tostring = coroutine.yield})",
       "error object: {a = 1} (its __tostring has failed)"},
      {"setmetatable({a = 1}, {__index = error, __len = error, __pairs = error, __name = {}, "
       "__metatable = 1})",
       "error object: {a = 1}"},
      {"(function() local t = {} t.t = t return t end)()", "error object: {t = {t = {...}}}"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *got = text_of(L, cases[i].expression), *want = cases[i].want;
    size_t len = strcmp(want, "file (0x") == 0 ? strlen(want) : strlen(got) + 1;
    tap_ok(strncmp(got, want, len) == 0, "%s: %s", cases[i].expression,
           tap_printable(got, strlen(got)));
  }
}

/* Userdata that know their type, or do not. */
static void userdata(lua_State *L) {
  lua_newuserdata(L, 1);
  lua_setglobal(L, "bare");
  lua_newuserdata(L, 1);
  luaL_newmetatable(L, "some.type");
  lua_setmetatable(L, -2);
  lua_setglobal(L, "typed");
  tap_str(text_of(L, "bare"), "error object: userdata", "no address");
  tap_str(text_of(L, "{typed}"), "error object: {userdata some.type}", "but its type");
}

static void is_short(lua_State *L, const char *expression, const char *begin, const char *end) {
  const char *got = text_of(L, expression);
  size_t len = strlen(got), tail = strlen(end);
  tap_ok(len <= 1700, "%s: %zu bytes", expression, len);
  tap_ok(strncmp(got, begin, strlen(begin)) == 0, "its begin: %.40s", got);
  tap_ok(len >= tail && strcmp(got + len - tail, end) == 0, "its end: %s",
         len > 30 ? got + len - 30 : got);
}

static void long_ones(lua_State *L) {
  lua_settop(L, 0);
  tap_int((int)strlen(text_of(L, "('m'):rep(4096)")), 4096, "a message of 4 KiB is whole");
  is_short(L, "('m'):rep(4097)", "mmm", "mmm... (4097 bytes)");
  is_short(L, "('\\0\\n'):rep(1000000)", "\\x00\\x0a", "\\x00\\x0a... (2000000 bytes)");
  is_short(L, "setmetatable({}, {__tostring = function() return ('t'):rep(1e6) end})", "ttt",
           "... (1000000 bytes)");
  is_short(L, "{('s'):rep(1000)}", "error object: {\"sss", "s\"... (1000 bytes)}");
  is_short(L, "{[('k'):rep(1000)] = 1}", "error object: {[\"kkk", "k\"... (1000 bytes)] = 1}");
  is_short(L, "(function() local t = {} for i = 1, 100 do t[i] = i end return t end)()",
           "error object: {1, 2, 3, ", ", 30, ...}");
  is_short(
      L, "(function() local t = {} for i = 1, 30 do t[i] = {('\\n'):rep(200)} end return t end)()",
      "error object: {{\"\\x0a", "\\x0a...");
  is_short(L, "{('\\27'):rep(200), ('\\27'):rep(200), 1}", "error object: {\"\\x1b", "\\x1b...");
}

int main(void) {
  lua_State *L = luaL_newstate();
  if (!L) tap_bail("no Lua state");
  luaL_openlibs(L);
  texts(L);
  userdata(L);
  long_ones(L);
  lua_close(L);
  return tap_done();
}
