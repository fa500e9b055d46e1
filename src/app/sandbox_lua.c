/*
 * Functions that call Lua's own ones and look at what they return. What a script has replaced itself stays as it is.
 */
#include "app/sandbox_lua.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "app/sandbox_notes.h"
#include "base/refused.h"
#include "state/libraries.h"
#include "state/state.h"

/* THROWS: it reads a file, and throws where the others return nil. RUNS: it runs a file, too. */
enum kind { OPEN, READ, THROWS, RUNS, WRITE, RENAME, COMMAND, TEMPORARY };

enum { IO = MB_LIBRARY_IO, OS = MB_LIBRARY_OS, GLOBAL = MB_LIBRARIES_ALL + 1 };

static const struct row {
  unsigned short library; /* a bit */
  char name[10];
  unsigned char kind;
} rows[] = {
    {IO, "open", OPEN},         {IO, "popen", COMMAND},     {OS, "execute", COMMAND},
    {OS, "remove", WRITE},      {OS, "rename", RENAME},     {OS, "tmpname", TEMPORARY},
    {IO, "tmpfile", TEMPORARY}, {GLOBAL, "loadfile", READ}, {GLOBAL, "dofile", RUNS},
    {IO, "lines", THROWS},      {IO, "input", THROWS},
};

/* Tells of what a function has refused. first, second: its arguments, or NULL. */
static void tell(enum kind kind, int error, const char *first, const char *second) {
  switch (kind) {
    case OPEN:
      mb_refused(error, second && strpbrk(second, "wa+") ? MB_REFUSED_WRITE : MB_REFUSED_READ,
                 first, 0);
      break;
    case READ:
    case THROWS:
    case RUNS:
      mb_refused(error, MB_REFUSED_READ, first, 0);
      break;
    case RENAME:
      if (error == EXDEV) error = EACCES; /* so Landlock refuses a file another directory */
      if (second) mb_refused(error, MB_REFUSED_WRITE, second, 0);
      mb_refused(error, MB_REFUSED_WRITE, first, 0);
      break;
    case WRITE:
      mb_refused(error, MB_REFUSED_WRITE, first, 0);
      break;
    case TEMPORARY:
      mb_refused(error, MB_REFUSED_WRITE, "/tmp", 0);
      break;
    case COMMAND:
      mb_refused(error, MB_REFUSED_EXEC, "/bin/sh", 0);
      break;
  }
}

/* Tells of a file that cannot be read, before a function throws that. */
static void look(const char *name) {
  if (mb_sandbox_notes_is_wished(MB_REFUSED_READ, name)) return;
  int fd = open(name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) {
    mb_refused(errno, MB_REFUSED_READ, name, 0);
  } else {
    close(fd);
  }
}

static const char *string_at(lua_State *L, int index) {
  return lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : NULL;
}

/* Throws the error on top of the stack, with the position and the name that Lua would have found. */
static int throw_as(lua_State *L, const char *name) {
  const char *text = string_at(L, -1);
  if (!text) return lua_error(L);
  luaL_where(L, 1);
  lua_pushstring(L, luaL_gsub(L, text, "'?'", lua_pushfstring(L, "'%s'", name)));
  lua_pushfstring(L, "%s%s", lua_tostring(L, -4), lua_tostring(L, -1));
  return lua_error(L);
}

static int finish_run(lua_State *L, int status, lua_KContext arguments) {
  (void)status;
  return lua_gettop(L) - (int)arguments;
}

/* Calls the function, upvalue 1, whose row is the number in upvalue 2, with its arguments. */
static int call(lua_State *L) {
  int arguments = lua_gettop(L);
  const char *first = string_at(L, 1), *second = string_at(L, 2);
  const struct row *row = &rows[lua_tointeger(L, lua_upvalueindex(2))];
  enum kind kind = (enum kind)row->kind;
  /* The C library would say that there is no memory for a process, or that there was one. */
  if (kind == COMMAND && first && !lua_toboolean(L, lua_upvalueindex(3))) {
    tell(kind, EPERM, first, NULL);
    errno = EPERM;
    return luaL_fileresult(L, 0, first);
  }
  if ((kind == THROWS || kind == RUNS) && first) look(first);
  luaL_checkstack(L, arguments + 4, "too many arguments");
  lua_pushvalue(L, lua_upvalueindex(1));
  for (int i = 1; i <= arguments; i++) lua_pushvalue(L, i); /* the names stay where they are */
  if (kind == RUNS) {
    lua_callk(L, arguments, LUA_MULTRET, arguments, finish_run);
    return finish_run(L, LUA_OK, arguments);
  }
  errno = 0;
  if (lua_pcall(L, arguments, LUA_MULTRET, 0) != LUA_OK) return throw_as(L, row->name);
  int error = errno, results = lua_gettop(L) - arguments;
  bool failed = results >= 2 && lua_isnil(L, arguments + 1);
  if (failed && results >= 3) error = (int)lua_tointeger(L, arguments + 3);
  if (failed && kind != COMMAND && (first || kind == TEMPORARY)) tell(kind, error, first, second);
  return results;
}

/* Whether this process has locked itself, and whether it may start programs then. */
static bool is_locked, starts_programs;

static void replace(lua_State *L, size_t number) {
  const struct row *row = &rows[number];
  if (row->library == GLOBAL) {
    lua_pushglobaltable(L);
  } else {
    lua_getglobal(L, row->library == IO ? LUA_IOLIBNAME : LUA_OSLIBNAME);
  }
  if (!lua_istable(L, -1)) return;
  lua_pushstring(L, row->name);
  lua_rawget(L, -2);
  if (!lua_iscfunction(L, -1) || lua_tocfunction(L, -1) == call) return;
  lua_pushinteger(L, (lua_Integer)number);
  lua_pushboolean(L, starts_programs);
  lua_pushcclosure(L, call, 3);
  lua_pushstring(L, row->name);
  lua_insert(L, -2);
  lua_rawset(L, -3);
}

/*
 * A searcher of modules that was refused a file says only that there is none. Its message names all that it has tried,
 * in a line each: "no file 'PATH'". Files that exist were refused.
 */
static void tell_of_modules(const char *message) {
  char path[1024];
  while ((message = strstr(message, "no file '")) != NULL) {
    message += sizeof "no file '" - 1;
    size_t len = strcspn(message, "'\n");
    if (len >= sizeof path) continue;
    memcpy(path, message, len);
    path[len] = '\0';
    if (access(path, F_OK) == 0) mb_refused(EACCES, MB_REFUSED_MODULE, path, 0);
  }
}

/* Calls the searcher, upvalue 1, with a module's name. */
static int search(lua_State *L) {
  int arguments = lua_gettop(L);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, arguments, LUA_MULTRET);
  if (lua_type(L, 1) == LUA_TSTRING) tell_of_modules(lua_tostring(L, 1));
  return lua_gettop(L);
}

static void replace_searchers(lua_State *L) {
  lua_getglobal(L, "package");
  if (!lua_istable(L, -1) || lua_getfield(L, -1, "searchers") != LUA_TTABLE) return;
  for (lua_Integer i = 1; lua_rawgeti(L, -1, i) == LUA_TFUNCTION; i++) {
    if (!lua_iscfunction(L, -1)) {
      lua_pop(L, 1);
      continue;
    }
    lua_pushcclosure(L, search, 1);
    lua_rawseti(L, -2, i);
  }
}

static void replace_all(lua_State *L, unsigned libraries) {
  int top = lua_gettop(L);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (libraries & rows[i].library) replace(L, i);
    lua_settop(L, top);
  }
}

void mb_sandbox_lua_open(lua_State *L, const struct mb_sandbox *sandbox) {
  is_locked = true;
  starts_programs = sandbox->wishes & MB_WISH_EXEC;
  replace_all(L, mb_state_of(L)->libraries | GLOBAL);
  int top = lua_gettop(L);
  replace_searchers(L);
  lua_settop(L, top);
}

void mb_sandbox_lua_add(lua_State *L, unsigned opened) {
  if (is_locked) replace_all(L, opened);
}
