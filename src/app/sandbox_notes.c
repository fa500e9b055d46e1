/*
 * Lua's functions for files and programs are replaced by ones that call them and look at what they return. What a
 * module in C calls by itself is not seen.
 */
#include "app/sandbox_notes.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/refused.h"

/* A handler that asks for ever new files must not fill the log. */
#define NOTES_MAX      16
#define NAME_MAX_BYTES 200

static const struct mb_sandbox *sandbox;
static uint32_t noted[NOTES_MAX]; /* hashes */
static int count;

/* ---- the lines ---- */

static uint32_t hash_of(const char *text) {
  uint32_t hash = 2166136261u; /* FNV-1a */
  for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 16777619u;
  return hash;
}

/* Returns whether the line is new, and there is room for it. */
static bool is_new(const char *line) {
  uint32_t hash = hash_of(line);
  for (int i = 0; i < count; i++) {
    if (noted[i] == hash) return false;
  }
  if (count == NOTES_MAX) return false;
  noted[count++] = hash;
  return true;
}

static bool is_below(const char *path, const char *directory) {
  size_t len = strlen(directory);
  while (len > 1 && directory[len - 1] == '/') len--;
  return strncmp(path, directory, len) == 0 && (len == 1 || path[len] == '/' || path[len] == '\0');
}

/* Returns whether the wishes allow it: then not the sandbox has refused it, but the file's own permissions. */
static bool is_wished(enum mb_refused_what what, const char *name) {
  for (size_t i = 0; i < sandbox->path_count; i++) {
    const struct mb_sandbox_path *p = &sandbox->paths[i];
    bool right = what == MB_REFUSED_WRITE  ? p->right == MB_RIGHT_WRITE
                 : what == MB_REFUSED_EXEC ? p->right == MB_RIGHT_EXEC
                                           : true;
    if (right && is_below(name, p->path)) return true;
  }
  return false;
}

static bool may_connect(enum mb_refused_what what, const char *name, unsigned port) {
  if (sandbox->wishes & MB_WISH_ANY_TCP) return true;
  for (size_t i = 0; what == MB_REFUSED_TCP && i < sandbox->port_count; i++) {
    if (sandbox->ports[i] == port) return true;
  }
  for (size_t i = 0; what == MB_REFUSED_UNIX && i < sandbox->socket_count; i++) {
    if (strcmp(sandbox->sockets[i], name) == 0) return true;
  }
  return false;
}

static void note(enum mb_refused_what what, const char *name, unsigned port) {
  char line[3 * NAME_MAX_BYTES];
  int most = NAME_MAX_BYTES;
  if (!name) name = "";
  switch (what) {
    case MB_REFUSED_READ:
    case MB_REFUSED_WRITE:
    case MB_REFUSED_EXEC: {
      static const char words[][6] = {"read", "write", "exec"};
      if (is_wished(what, name)) return;
      snprintf(line, sizeof line, "%s of %.*s refused: sandbox = {%s = {\"%.*s\"}}", words[what],
               most, name, words[what], most, name);
      break;
    }
    case MB_REFUSED_MODULE:
      if (sandbox->reads_modules || is_wished(MB_REFUSED_READ, name)) return;
      snprintf(line, sizeof line, "read of %.*s refused: sandbox = {modules = true}", most, name);
      break;
    case MB_REFUSED_UNIX:
      if (may_connect(what, name, 0)) return;
      snprintf(line, sizeof line, "connection to %.*s refused: sandbox = {connect = {\"%.*s\"}}",
               most, name, most, name);
      break;
    case MB_REFUSED_TCP:
      if (may_connect(what, name, port)) return;
      snprintf(line, sizeof line,
               "connection to TCP port %u refused: sandbox = {connect = {\"tcp:%u\"}}", port, port);
      break;
    case MB_REFUSED_NAMES:
      if (sandbox->looks_up_names) return;
      snprintf(line, sizeof line, "look-up of %.*s refused: sandbox = {connect = {\"dns\"}}", most,
               name);
      break;
    case MB_REFUSED_SOCKET:
      if (sandbox->wishes & MB_WISH_ANY_TCP) return;
      snprintf(line, sizeof line, "socket refused: sandbox = {connect = true}");
      break;
    case MB_REFUSED_LISTEN:
      if (sandbox->wishes & MB_WISH_LISTEN) return;
      snprintf(line, sizeof line, "listen refused: sandbox = {listen = true}");
      break;
  }
  if (is_new(line)) mb_log(LOG_WARNING, "sandbox: %s would allow it", line);
}

/* ---- Lua's functions ---- */

/* THROWS: it reads a file, and throws where the others return nil. */
enum kind { OPEN, READ, THROWS, WRITE, COMMAND, TEMPORARY };

static const struct row {
  char table[8]; /* "": a global */
  char name[10];
  unsigned char kind;
} rows[] = {
    {"io", "open", OPEN},         {"io", "popen", COMMAND}, {"os", "execute", COMMAND},
    {"os", "remove", WRITE},      {"os", "rename", WRITE},  {"os", "tmpname", TEMPORARY},
    {"io", "tmpfile", TEMPORARY}, {"", "loadfile", READ},   {"", "dofile", THROWS},
    {"io", "lines", THROWS},      {"io", "input", THROWS},
};

/* Tells of what a function has refused. name: its first argument; mode: its second one. */
static void tell(enum kind kind, int error, const char *name, const char *mode) {
  switch (kind) {
    case OPEN:
      mb_refused(error, mode && strpbrk(mode, "wa+") ? MB_REFUSED_WRITE : MB_REFUSED_READ, name, 0);
      break;
    case READ:
    case THROWS:
      mb_refused(error, MB_REFUSED_READ, name, 0);
      break;
    case WRITE:
      mb_refused(error, MB_REFUSED_WRITE, name, 0);
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
  if (is_wished(MB_REFUSED_READ, name)) return;
  int fd = open(name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) {
    tell(THROWS, errno, name, NULL);
  } else {
    close(fd);
  }
}

/* Calls the function, upvalue 1, of the kind, upvalue 2, with its arguments. */
static int call(lua_State *L) {
  int arguments = lua_gettop(L);
  const char *name = lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : NULL;
  const char *mode = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : NULL;
  enum kind kind = (enum kind)lua_tointeger(L, lua_upvalueindex(2));
  if (kind == THROWS && name) look(name);
  /* The C library would say that there is no memory for a process. */
  if (kind == COMMAND && name && !(sandbox->wishes & MB_WISH_EXEC)) {
    tell(kind, EPERM, name, NULL);
    errno = EPERM;
    return luaL_fileresult(L, 0, name);
  }
  luaL_checkstack(L, arguments + 2, "too many arguments");
  lua_pushvalue(L, lua_upvalueindex(1));
  for (int i = 1; i <= arguments; i++) lua_pushvalue(L, i); /* the names stay where they are */
  errno = 0;
  lua_call(L, arguments, LUA_MULTRET);
  int error = errno, results = lua_gettop(L) - arguments;
  bool failed = results >= 2 && lua_isnil(L, arguments + 1);
  if (failed && results >= 3) error = (int)lua_tointeger(L, arguments + 3);
  if (failed && (name || kind == TEMPORARY)) tell(kind, error, name, mode);
  return results;
}

static void replace(lua_State *L, const struct row *row) {
  if (row->table[0]) {
    lua_getglobal(L, row->table);
  } else {
    lua_pushglobaltable(L);
  }
  if (lua_istable(L, -1) && lua_getfield(L, -1, row->name) == LUA_TFUNCTION) {
    lua_pushinteger(L, row->kind);
    lua_pushcclosure(L, call, 2);
    lua_setfield(L, -2, row->name);
  }
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
    lua_pushcclosure(L, search, 1);
    lua_rawseti(L, -2, i);
  }
}

void mb_sandbox_notes_open(lua_State *L, const struct mb_sandbox *s) {
  int top = lua_gettop(L);
  sandbox = s;
  mb_refused_note = note;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    replace(L, &rows[i]);
    lua_settop(L, top);
  }
  replace_searchers(L);
  lua_settop(L, top);
}
