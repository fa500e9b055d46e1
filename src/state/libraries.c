/* Finds words in a text, and opens libraries. */
#include "state/libraries.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <string.h>

#include "state/state.h"

struct word {
  char text[15];
  unsigned char len;
  unsigned short libraries;
};

#define WORD(text, libraries) \
  { text, sizeof text - 1, libraries }

/*
 * Names of libraries, and words by which code reaches a library without its name: the table of globals; text that
 * becomes code; package.loaded; and debug, whose registry has all. Of require see below.
 */
static const struct word words[] = {
    WORD("_ENV", MB_LIBRARIES_ALL),
    WORD("_G", MB_LIBRARIES_ALL),
    WORD("bit32", MB_LIBRARY_BIT32),
    WORD("coroutine", MB_LIBRARY_COROUTINE),
    WORD("debug", MB_LIBRARIES_ALL),
    WORD("dofile", MB_LIBRARIES_ALL),
    WORD("io", MB_LIBRARY_IO),
    WORD("load", MB_LIBRARIES_ALL),
    WORD("loadfile", MB_LIBRARIES_ALL),
    WORD("loadstring", MB_LIBRARIES_ALL),
    WORD("math", MB_LIBRARY_MATH),
    WORD("module", MB_LIBRARIES_ALL),
    WORD("moonbridge_io", MB_LIBRARY_MOONBRIDGE_IO),
    WORD("os", MB_LIBRARY_OS),
    WORD("package", MB_LIBRARIES_ALL),
    WORD("table", MB_LIBRARY_TABLE),
    WORD("utf8", MB_LIBRARY_UTF8),
};

static unsigned reached_by(const char *text, size_t len) {
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    if (words[i].len == len && words[i].text[0] == *text && memcmp(words[i].text, text, len) == 0)
      return words[i].libraries;
  }
  return 0;
}

/* ---- Lua's lexical rules (manual, 3.1), for what has to be told apart from words ---- */

struct text {
  const char *at, *end;
  bool is_ours;
};

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Which bytes a word is made of, also outside of ASCII: a Lua with other rules for names would not surprise us. */
static bool is_of_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || (c & 0x80);
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool is_next(const struct text *t, char c) { return t->at < t->end && *t->at == c; }

static void skip_space(struct text *t) {
  while (t->at < t->end && is_space(*t->at)) t->at++;
}

static bool is_line_end(char c) { return c == '\n' || c == '\r'; }

/* Goes behind a string in quotes. Returns whether it has an end. */
static bool skip_quoted(struct text *t) {
  char mark = *t->at++;
  while (t->at < t->end && !is_line_end(*t->at)) {
    char c = *t->at++;
    if (c == mark) return true;
    if (c != '\\' || t->at == t->end) continue;
    c = *t->at++; /* what it escapes; digits of a code may follow, which are no quotes */
    if (c == 'z') skip_space(t);
    if (is_line_end(c) && t->at < t->end && is_line_end(*t->at) && *t->at != c) t->at++;
  }
  return false;
}

/* Goes behind a long bracket, if one begins here. Returns false when it has no end. */
static bool skip_long(struct text *t, bool *ret_is_one) {
  const char *level = t->at + 1;
  while (level < t->end && *level == '=') level++;
  *ret_is_one = level < t->end && *level == '[';
  if (!*ret_is_one) return true;
  size_t count = (size_t)(level - t->at); /* a bracket and signs, as many as there are at the end */
  for (t->at = level + 1; t->at < t->end; t->at++) {
    if (*t->at != ']') continue;
    const char *close = t->at + 1;
    while (close < t->end && *close == '=') close++;
    if (close < t->end && *close == ']' && (size_t)(close - t->at) == count) {
      t->at = close + 1;
      return true;
    }
    t->at = close - 1;
  }
  return false;
}

/* Goes behind a comment. Returns false when it has no end. */
static bool skip_comment(struct text *t) {
  bool is_long = false;
  t->at += 2;
  if (is_next(t, '[') && !skip_long(t, &is_long)) return false;
  while (!is_long && t->at < t->end && !is_line_end(*t->at)) t->at++;
  return true;
}

/* Goes behind a number: a word may stand right behind it. */
static void skip_number(struct text *t) {
  bool is_hexadecimal = t->end - t->at > 1 && *t->at == '0' && (t->at[1] == 'x' || t->at[1] == 'X');
  char exponent = is_hexadecimal ? 'p' : 'e';
  if (is_hexadecimal) t->at += 2;
  while (t->at < t->end) {
    char lower = (char)(*t->at | 0x20);
    if (lower == exponent && (*t->at & 0x40)) {
      t->at++;
      if (is_next(t, '+') || is_next(t, '-')) t->at++;
    } else if (is_digit(*t->at) || *t->at == '.' ||
               ((*t->at & 0x40) && lower >= 'a' && lower <= 'f')) {
      t->at++;
    } else {
      return;
    }
  }
}

/*
 * Behind the word require. Returns nothing when it is called with the plain name of a module of ours, which opens what
 * it uses; what libm has, when the name is another one: the module is looked at when it is loaded, and where the
 * process is locked by then, it cannot load that. All libraries when the name is not known, as it may be that of a
 * library.
 */
static unsigned reached_by_require(struct text t) {
  skip_space(&t);
  bool has_parenthesis = is_next(&t, '(');
  if (has_parenthesis) t.at++;
  skip_space(&t);
  if (!is_next(&t, '"') && !is_next(&t, '\'')) return MB_LIBRARIES_ALL;
  const char *name = t.at + 1;
  if (!skip_quoted(&t)) return MB_LIBRARIES_ALL;
  size_t len = (size_t)(t.at - 1 - name);
  skip_space(&t);
  if (has_parenthesis && !is_next(&t, ')')) return MB_LIBRARIES_ALL;
  if (memchr(name, '\\', len)) return MB_LIBRARIES_ALL;
  bool is_ours = (len > 11 && memcmp(name, "moonbridge_", 11) == 0) ||
                 (len > 3 && memcmp(name, "mb.", 3) == 0);
  return reached_by(name, len) | (is_ours ? 0 : MB_LIBRARY_OPERATORS);
}

/* Goes behind a word. Returns what it reaches. */
static unsigned read_word(struct text *t) {
  static const char require[] = "require";
  const char *begin = t->at;
  while (t->at < t->end && is_of_word(*t->at)) t->at++;
  size_t len = (size_t)(t->at - begin);
  if (len != sizeof require - 1 || memcmp(begin, require, len) != 0) return reached_by(begin, len);
  return t->is_ours ? 0 : reached_by_require(*t);
}

static unsigned read_text(struct text t) {
  unsigned named = 0;
  bool is_long;
  while (named != MB_LIBRARIES_ALL && t.at < t.end) {
    char c = *t.at, next = t.end - t.at > 1 ? t.at[1] : '\0';
    bool has_end = true;
    if (is_digit(c) || (c == '.' && is_digit(next))) {
      skip_number(&t);
    } else if (is_of_word(c)) {
      named |= read_word(&t);
    } else if (c == '"' || c == '\'') {
      has_end = skip_quoted(&t);
    } else if (c == '-' && next == '-') {
      has_end = skip_comment(&t);
    } else if (c == '[' && (next == '[' || next == '=')) {
      has_end = skip_long(&t, &is_long);
      if (!is_long) t.at++;
    } else {
      if (c == '^' || c == '%') named |= MB_LIBRARY_OPERATORS;
      t.at++;
    }
    if (!has_end) return MB_LIBRARIES_ALL; /* Lua will not take it, or we have misread it */
  }
  return named;
}

unsigned mb_libraries_named(const char *text, size_t size) {
  if (size > 0 && *text == LUA_SIGNATURE[0]) return MB_LIBRARIES_ALL;
  return read_text((struct text){text, text + size, false});
}

unsigned mb_libraries_of_ours(const char *text, size_t size) {
  return read_text((struct text){text, text + size, true});
}

/* ---- opening ---- */

static const struct library {
  const char *name;
  lua_CFunction open;
} libraries[] = {
    {LUA_BITLIBNAME, luaopen_bit32}, {LUA_COLIBNAME, luaopen_coroutine},
    {LUA_DBLIBNAME, luaopen_debug},  {LUA_IOLIBNAME, luaopen_io},
    {LUA_MATHLIBNAME, luaopen_math}, {LUA_OSLIBNAME, luaopen_os},
    {LUA_TABLIBNAME, luaopen_table}, {LUA_UTF8LIBNAME, luaopen_utf8},
};

static int open_bit32(lua_State *L) {
  luaL_requiref(L, LUA_BITLIBNAME, luaopen_bit32, 1);
  return 0;
}

static void open_one(lua_State *L, const struct library *library) {
  if (library->open == luaopen_bit32) {
    /* A Lua that was built without it throws, and goes without it. */
    lua_pushcfunction(L, open_bit32);
    int status = lua_pcall(L, 0, 0, 0);
    if (status == LUA_OK) return;
    lua_pop(L, 1);
    if (status != LUA_ERRMEM) return;
  }
  luaL_requiref(L, library->name, library->open, 1); /* no memory: Lua itself throws that again */
  lua_pop(L, 1);
}

void mb_libraries_open(lua_State *L, unsigned wanted) {
  struct mb_state *state = mb_state_of(L);
  unsigned missing = wanted & ~state->libraries;
  if (!missing) return;
  luaL_checkstack(L, 3, "too many results");
  for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
    if (missing & 1u << i) open_one(L, &libraries[i]);
  }
  /* The bits come last: when memory has run out half-way, the next call begins again. */
  if (state->libraries_opened) state->libraries_opened(L, missing);
  state->libraries |= missing;
}

void mb_libraries_begin(lua_State *L) {
  static const struct library first[] = {
      {"_G", luaopen_base}, {LUA_LOADLIBNAME, luaopen_package}, {LUA_STRLIBNAME, luaopen_string}};
  for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
    luaL_requiref(L, first[i].name, first[i].open, 1);
    lua_pop(L, 1);
  }
}
