/* src/state/libraries.c, src/state/source.c: which libraries a text can reach, and a script that is loaded opens those. */
#include "state/libraries.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../lib/tap.h"
#include "state/source.h"
#include "state/state.h"

#define ALL MB_LIBRARIES_ALL

static void test_named(void) {
  static const struct {
    const char *text;
    unsigned libraries;
  } rows[] = {
      {"", 0},
      {"return 1", 0},
      {"math.floor(x)", MB_LIBRARY_MATH},
      {"local m=math", MB_LIBRARY_MATH},
      {"math", MB_LIBRARY_MATH},
      {"mathematics, amath, math2, _math, math_", 0},
      {"\xc3\xa4math math\xc3\xa4", 0},
      {"io.open(f) os.exit()", MB_LIBRARY_IO | MB_LIBRARY_OS},
      {"coroutine table utf8 bit32",
       MB_LIBRARY_COROUTINE | MB_LIBRARY_TABLE | MB_LIBRARY_UTF8 | MB_LIBRARY_BIT32},
      {"moonbridge_io.poll()", MB_LIBRARY_MOONBRIDGE_IO},
      {"require 'moonbridge_io'", MB_LIBRARY_MOONBRIDGE_IO},
      {"require \"moonbridge_http\" require('mb.log') require ( 'mb.x' )", 0},
      {"require 'math'", MB_LIBRARY_MATH | MB_LIBRARY_OPERATORS},
      {"require 'foo'", MB_LIBRARY_OPERATORS},
      {"require '_G'", ALL},
      {"require 'package'", ALL},
      {"require('_' .. 'G')", ALL},
      {"require'\\95G'", ALL},
      {"require[[_G]]", ALL},
      {"local r = require", ALL},
      {"require(name)", ALL},
      {"require 'a", ALL},
      {"required, xrequire", 0},
      /* comments */
      {"-- math\n--[[ io\nos ]] --[==[ load ]] ]==] utf8", MB_LIBRARY_UTF8},
      {"--[ math\nio", MB_LIBRARY_IO},
      {"-- don't\nmath", MB_LIBRARY_MATH},
      {"--[[ math", ALL},
      {"a - - math", MB_LIBRARY_MATH},
      /* strings */
      {"'math' \"io\" [[os]] [=[load]] ]=]", 0},
      {"'a\\'math' .. io", MB_LIBRARY_IO},
      {"'a\\\\'math", MB_LIBRARY_MATH},
      {"'a\\\nmath' io", MB_LIBRARY_IO},
      {"'a\\\r\nmath' io", MB_LIBRARY_IO},
      {"'a\\z \n\n math' io", MB_LIBRARY_IO},
      {"'a\\z'math", MB_LIBRARY_MATH},
      {"'a%' '^'", 0},
      {"'a\nmath'", ALL},
      {"\"a", ALL},
      {"'a\\", ALL},
      {"[[math]", ALL},
      {"[==", 0},
      {"t[math[1]]", MB_LIBRARY_MATH},
      /* numbers, with a word right behind */
      {"5os", MB_LIBRARY_OS},
      {"5.5table", MB_LIBRARY_TABLE},
      {"5.e3math", MB_LIBRARY_MATH},
      {".5e-3io", MB_LIBRARY_IO},
      {"0x10math", MB_LIBRARY_MATH},
      {"0xfmath", MB_LIBRARY_MATH},
      {"0x.fp+1os", MB_LIBRARY_OS},
      {"1..io", MB_LIBRARY_IO},
      {"5load''", ALL},
      {"3_G", ALL},
      {"x5os, a.b5math", 0},
      {"a % b", MB_LIBRARY_OPERATORS},
      {"a^b", MB_LIBRARY_OPERATORS},
      {"string.rep('x', 3) print(tostring(package_))", 0},
      {"_G['ma'..'th']", ALL},
      {"local e = _ENV", ALL},
      {"load(text)", ALL},
      {"loadstring(text)", ALL},
      {"loadfile(name)", ALL},
      {"dofile(name)", ALL},
      {"package.loaded.math", ALL},
      {"debug.getregistry()", ALL},
      {"module(...)", ALL},
      {"loaded, loader, reload, _GG, _ENVIRONMENT, packages, debugging", 0},
      {LUA_SIGNATURE "S precompiled", ALL},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    tap_int(mb_libraries_named(rows[i].text, strlen(rows[i].text)), rows[i].libraries, "%s",
            rows[i].text[0] == LUA_SIGNATURE[0] ? "a precompiled chunk" : rows[i].text);
  }
  tap_int(mb_libraries_named("a\0math\0b", 8), MB_LIBRARY_MATH,
          "a NUL ends no text, and parts words");
  tap_int(mb_libraries_named("math", 3), 0, "the text has an end");
}

static unsigned opened;

static void note(lua_State *L, unsigned libraries) {
  (void)L;
  opened |= libraries;
}

static lua_State *new_state(struct mb_state *state) {
  *state = (struct mb_state){.libraries_opened = note};
  opened = 0;
  lua_State *L = mb_state_new(state);
  if (!L) tap_bail("no Lua state");
  mb_state_open(L, "test.lua");
  return L;
}

static bool is_global(lua_State *L, const char *name) {
  bool is = lua_getglobal(L, name) == LUA_TTABLE;
  lua_pop(L, 1);
  return is;
}

static bool is_loaded(lua_State *L, const char *name) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  bool is = lua_getfield(L, -1, name) == LUA_TTABLE;
  lua_pop(L, 2);
  return is;
}

static void test_open(void) {
  static const char *const later[] = {"bit32", "coroutine", "debug", "io",
                                      "math",  "os",        "table", "utf8"};
  struct mb_state state;
  lua_State *L = new_state(&state);
  tap_ok(is_global(L, "_G") && is_global(L, "package") && is_global(L, "string"),
         "_G, package and string are there from the beginning");
  for (size_t i = 0; i < sizeof later / sizeof *later; i++)
    tap_ok(!is_global(L, later[i]), "%s is not", later[i]);
  mb_libraries_open(L, MB_LIBRARY_MATH);
  tap_ok(is_global(L, "math") && is_loaded(L, "math"),
         "one is opened: a global, and known to require");
  tap_int(opened, MB_LIBRARY_MATH, "and told of");
  opened = 0;
  if (luaL_dostring(L, "math.mine = 1") != LUA_OK) tap_bail("a script fails");
  mb_libraries_open(L, ALL);
  tap_int(opened, ALL & ~MB_LIBRARY_MATH, "all are opened, but for the one that is open");
  for (size_t i = 0; i < sizeof later / sizeof *later; i++)
    tap_ok(is_global(L, later[i]) && is_loaded(L, later[i]), "now %s is there", later[i]);
  lua_getglobal(L, "math");
  tap_ok(lua_getfield(L, -1, "mine") == LUA_TNUMBER, "what a script has put into one stays");
  opened = 0;
  mb_libraries_open(L, ALL);
  tap_int(opened, 0, "nothing is opened twice");
  tap_int(lua_gettop(L), 2, "nothing is left on the stack");
  mb_state_close(L);
}

/* ---- a file ---- */

static char path[] = "/tmp/mb-source-XXXXXX";

static void write_file(const char *text, size_t size) {
  FILE *file = fopen(path, "w");
  if (!file || fwrite(text, 1, size, file) != size || fclose(file) != 0)
    tap_bail("cannot write a file");
}

/* Loads the file by our function and by Lua's, and compares status, message or result, and line of an error. */
static void compare(const char *what, const char *text, size_t size) {
  struct mb_state state;
  lua_State *L = new_state(&state);
  write_file(text, size);
  mb_libraries_open(L, ALL);
  int wanted = luaL_loadfile(L, path), got = mb_source_load(L, path);
  tap_int(got, wanted, "%s: the status is luaL_loadfile's", what);
  if (wanted == LUA_OK) {
    int wanted_run = lua_pcall(L, 0, 1, 0);
    lua_insert(L, 1);
    int got_run = lua_pcall(L, 0, 1, 0);
    tap_int(wanted_run, got_run, "%s: it runs alike", what);
  }
  size_t wanted_len, got_len;
  const char *a = luaL_tolstring(L, -2, &wanted_len), *b = luaL_tolstring(L, -2, &got_len);
  tap_ok(wanted_len == got_len && memcmp(a, b, got_len) == 0, "%s: \"%s\" is \"%s\"", what, b, a);
  mb_state_close(L);
}

#define COMPARE(what, text) compare(what, text, sizeof text - 1)

/* The buffer has nothing on the stack as long as it is short, so that the function stays on top. */
static int dump(lua_State *L, const void *bytes, size_t size, void *to) {
  (void)L;
  luaL_addlstring(to, bytes, size);
  return 0;
}

/* Compares a precompiled chunk, with something before it. */
static void compare_chunk(const char *what, const char *before) {
  lua_State *L = luaL_newstate();
  luaL_Buffer text;
  luaL_loadstring(L, "return 6 * 7");
  luaL_buffinit(L, &text);
  luaL_addstring(&text, before);
  lua_dump(L, dump, &text, 0);
  luaL_pushresult(&text);
  size_t size;
  const char *bytes = lua_tolstring(L, -1, &size);
  compare(what, bytes, size);
  lua_close(L);
}

static void test_source(void) {
  int fd = mkstemp(path);
  if (fd < 0) tap_bail("no temporary file");
  close(fd);
  COMPARE("a chunk", "return 1 + 1");
  COMPARE("an empty file", "");
  COMPARE("a file without a line end", "return 'x'");
  COMPARE("a first line with #", "#!/usr/bin/mb-handle\nerror('second')\n");
  COMPARE("a first line with # alone", "#");
  COMPARE("a first line with # and a line end", "#\n");
  COMPARE("a byte order mark", "\xEF\xBB\xBFreturn 3");
  COMPARE("a byte order mark and a first line with #", "\xEF\xBB\xBF#!x\nerror('line 2')");
  COMPARE("half a byte order mark", "\xEF\xBB return 3");
  COMPARE("a byte order mark alone", "\xEF\xBB\xBF");
  COMPARE("a second line with #", "return 1\n#2");
  COMPARE("a syntax error", "\n\nreturn return");
  COMPARE("a NUL", "return '\0' .. 1");
  COMPARE("CR LF", "local x = 1\r\nerror('line 2')\r\n");
  COMPARE("a precompiled chunk that is cut", LUA_SIGNATURE "S\0");
  compare_chunk("a precompiled chunk", "");
  compare_chunk("a precompiled chunk behind a first line with #", "#!/usr/bin/mb-handle\n");
  static char long_text[100000];
  memset(long_text, ' ', sizeof long_text);
  memcpy(long_text + sizeof long_text - 9, "return 42", 9);
  compare("a long file", long_text, sizeof long_text);
  enum { HUGE = 1000000 };
  char *huge = malloc(HUGE);
  if (!huge) tap_bail("no memory");
  memset(huge, ' ', HUGE);
  memcpy(huge, "#!\nlocal x = 7", 14);
  memcpy(huge + HUGE - 22, "return x, math.pi +   ", 22);
  compare("a file of which the begin is looked at, with an error in its last line", huge, HUGE);
  memcpy(huge + HUGE - 22, "return x + #math.type ", 22);
  compare("one that fails in its last line", huge, HUGE);
  memcpy(huge + HUGE - 22, "return x, math.pi     ", 22);
  compare("one that runs", huge, HUGE);
  free(huge);

  struct mb_state state;
  COMPARE("the library math", "return math and 1");
  lua_State *L = new_state(&state);
  tap_int(mb_source_load(L, path), LUA_OK, "a text is loaded");
  tap_int(opened, MB_LIBRARY_MATH, "the libraries that it names are opened, and no others");
  mb_state_close(L);

  static const char *const wrong[] = {"/nonexistent/script.lua", "/"};
  for (size_t i = 0; i < 2; i++) {
    L = new_state(&state);
    tap_int(luaL_loadfile(L, wrong[i]), LUA_ERRFILE, "%s is no script", wrong[i]);
    tap_int(mb_source_load(L, wrong[i]), LUA_ERRFILE, "to us neither");
    tap_str(lua_tostring(L, -1), lua_tostring(L, -2), "the message is Lua's");
    mb_state_close(L);
  }

  L = new_state(&state);
  write_file(long_text, sizeof long_text);
  lua_gc(L, LUA_GCCOLLECT, 0);
  size_t used = state.alloc.used;
  state.alloc.limit = used + sizeof long_text / 2;
  tap_int(mb_source_load(L, path), LUA_OK, "a text does not count in the limit of memory");
  tap_ok(state.alloc.used < used + 4096, "only what it says does");
  mb_state_close(L);
  unlink(path);
}

int main(void) {
  test_named();
  test_open();
  test_source();
  return tap_done();
}
