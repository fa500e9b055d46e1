/* Reads the field sandbox of listen{}. A key of its table is a row. */
#include "app/sandbox_wish.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "state/state.h"

#define NOT_SAID MB_LIMIT_NOT_SAID

const struct mb_sandbox mb_sandbox_strict = {
    .cpu_seconds = NOT_SAID, .open_files = NOT_SAID, .file_size = NOT_SAID, .processes = NOT_SAID};

#define PATH_MOST (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)
#define DNS       "dns"
#define TCP       "tcp:"
#define DNS_PORT  53 /* long answers come over TCP */

enum kind { KIND_READ, KIND_WRITE, KIND_EXEC, KIND_CONNECT, KIND_LISTEN, KIND_SWITCH, KIND_LIMIT };

/* The strings are arrays: pointers would have to be relocated at every start. */
static const struct row {
  char name[12];
  unsigned char kind;
  unsigned char offset; /* of a switch or a limit, in struct mb_sandbox */
  unsigned char least;  /* of a limit */
} rows[] = {
#define IN(member) offsetof(struct mb_sandbox, member)
    {"read", KIND_READ, 0, 0},
    {"write", KIND_WRITE, 0, 0},
    {"connect", KIND_CONNECT, 0, 0},
    {"listen", KIND_LISTEN, 0, 0},
    {"exec", KIND_EXEC, 0, 0},
    {"modules", KIND_SWITCH, IN(reads_modules), 0},
    {"cpu_seconds", KIND_LIMIT, IN(cpu_seconds), 1},
    {"open_files", KIND_LIMIT, IN(open_files),
     8}, /* the log, the connection, and some to work with */
    {"file_size", KIND_LIMIT, IN(file_size), 0},
    {"processes", KIND_LIMIT, IN(processes), 0},
    {"required", KIND_SWITCH, IN(is_required), 0},
#undef IN
};
#define ROWS (sizeof rows / sizeof *rows)

/* What is read, while the lists grow. */
struct wishes {
  struct mb_sandbox *to; /* NULL: the table is only checked */
  struct mb_sandbox_path *paths;
  uint16_t *ports;
  const char **sockets;
};

/* ---- errors ---- */

/* Throws: names the wish, what is expected, and the value at index. */
static int wrong(lua_State *L, const char *wish, int index, const char *expected) {
  const char *quote = lua_type(L, index) == LUA_TSTRING ? "\"" : "";
  const char *text = luaL_tolstring(L, index, NULL);
  return luaL_error(L, "listen: sandbox: %s: expected %s, got %s%s%s", wish, expected, quote, text,
                    quote);
}

/* Throws: the key below the value on top of the stack is none that we know. */
static int unknown(lua_State *L) {
  luaL_Buffer b;
  luaL_tolstring(L, -2, NULL);
  int name = lua_gettop(L);
  luaL_buffinit(L, &b);
  for (size_t i = 0; i < ROWS; i++) {
    if (i > 0) luaL_addstring(&b, ", ");
    luaL_addstring(&b, rows[i].name);
  }
  luaL_pushresult(&b);
  return luaL_error(L, "listen: sandbox: unknown wish \"%s\": expected one of %s",
                    lua_tostring(L, name), lua_tostring(L, -1));
}

/* ---- entries of lists: each is on top of the stack, and stays ---- */

/* Returns the string on top, for as long as the Lua state lives. */
static const char *keep(lua_State *L) {
  lua_pushvalue(L, -1);
  luaL_ref(L, LUA_REGISTRYINDEX);
  return lua_tostring(L, -1);
}

static const char *check_text(lua_State *L, const char *wish, const char *expected) {
  size_t len;
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
  if (!text || strlen(text) != len) wrong(L, wish, -1, expected);
  return text;
}

static void read_path(lua_State *L, struct wishes *w, const char *wish,
                      enum mb_sandbox_right right) {
  static const char expected[] = "an absolute path in each place of the list";
  struct stat st;
  const char *path = check_text(L, wish, expected);
  if (path[0] != '/') wrong(L, wish, -1, expected);
  if (!w->to) {
    /* Where this process may not look, the one that serves may. */
    if (stat(path, &st) != 0 && errno != EACCES)
      luaL_error(L, "listen: sandbox: %s: %s: %s", wish, path, strerror(errno));
    return;
  }
  w->paths[w->to->path_count++] = (struct mb_sandbox_path){.path = keep(L), .right = right};
}

/* Adds what "dns", a port, or the path of a Unix socket allows. */
static void read_target(lua_State *L, struct wishes *w, const char *wish) {
  static const char expected[] =
      "\"tcp:PORT\", with a port from 1 to 65535, the absolute path of a Unix socket, or "
      "\"" DNS "\" in each place of the list";
  const char *text = check_text(L, wish, expected);
  bool is_dns = strcmp(text, DNS) == 0, is_path = text[0] == '/';
  long port = 0;
  if (is_path) {
    if (strlen(text) > PATH_MOST) wrong(L, wish, -1, "a path of at most 107 bytes");
  } else if (is_dns) {
    port = DNS_PORT;
  } else {
    const char *digits = strncmp(text, TCP, sizeof TCP - 1) == 0 ? text + sizeof TCP - 1 : "";
    size_t count = strspn(digits, "0123456789");
    port = count > 0 && count < 6 && !digits[count] ? strtol(digits, NULL, 10) : 0;
    if (port < 1 || port > UINT16_MAX) wrong(L, wish, -1, expected);
  }
  if (!w->to) return;
  if (is_path) {
    w->to->wishes |= MB_WISH_UNIX;
    w->sockets[w->to->socket_count++] = keep(L);
    return;
  }
  w->to->wishes |= MB_WISH_TCP | (is_dns ? MB_WISH_UDP : 0u);
  w->to->looks_up_names |= is_dns;
  w->ports[w->to->port_count++] = (uint16_t)port;
}

/* ---- wishes: the value is on top of the stack, and stays ---- */

static size_t list_size(lua_State *L, const char *wish, const char *expected) {
  if (!lua_istable(L, -1)) wrong(L, wish, -1, expected);
  size_t keys = 0, size = lua_rawlen(L, -1);
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) keys++;
  if (keys != size) wrong(L, wish, -1, expected);
  return size;
}

static void read_paths(lua_State *L, struct wishes *w, const char *wish,
                       enum mb_sandbox_right right) {
  size_t size = list_size(L, wish, "a list of absolute paths, such as {\"/srv/www\"}");
  for (size_t i = 1; i <= size; i++) {
    lua_rawgeti(L, -1, (lua_Integer)i);
    read_path(L, w, wish, right);
    lua_pop(L, 1);
  }
}

static void read_connect(lua_State *L, struct wishes *w, const char *wish) {
  static const unsigned all = MB_WISH_UNIX | MB_WISH_TCP | MB_WISH_UDP | MB_WISH_ANY_TCP;
  if (lua_isboolean(L, -1)) {
    bool any = lua_toboolean(L, -1);
    if (any && w->to) w->to->wishes |= all;
    if (any && w->to) w->to->looks_up_names = true;
    return;
  }
  size_t size = list_size(L, wish, "true, false, or a list such as {\"tcp:5432\", \"dns\"}");
  for (size_t i = 1; i <= size; i++) {
    lua_rawgeti(L, -1, (lua_Integer)i);
    read_target(L, w, wish);
    lua_pop(L, 1);
  }
}

static void read_exec(lua_State *L, struct wishes *w, const char *wish) {
  if (lua_isboolean(L, -1) && !lua_toboolean(L, -1)) return;
  if (list_size(L, wish, "false, or a list of programs, such as {\"/usr/sbin/sendmail\"}") == 0)
    return;
  if (w->to) w->to->wishes |= MB_WISH_EXEC;
  read_paths(L, w, wish, MB_RIGHT_EXEC);
}

static bool read_switch(lua_State *L, const char *wish) {
  if (!lua_isboolean(L, -1)) wrong(L, wish, -1, "true or false");
  return lua_toboolean(L, -1);
}

static int64_t read_limit(lua_State *L, const struct row *row) {
  int is_integer;
  lua_Integer n = lua_tointegerx(L, -1, &is_integer);
  if (!is_integer || n < row->least)
    wrong(L, row->name, -2, lua_pushfstring(L, "an integer, %d or more", (int)row->least));
  return n;
}

static void read_row(lua_State *L, struct wishes *w, const struct row *row) {
  char *at = w->to ? (char *)w->to + row->offset : NULL;
  bool on;
  int64_t n;
  switch ((enum kind)row->kind) {
    case KIND_READ:
      read_paths(L, w, row->name, MB_RIGHT_READ);
      break;
    case KIND_WRITE:
      read_paths(L, w, row->name, MB_RIGHT_WRITE);
      break;
    case KIND_EXEC:
      read_exec(L, w, row->name);
      break;
    case KIND_CONNECT:
      read_connect(L, w, row->name);
      break;
    case KIND_LISTEN:
      on = read_switch(L, row->name);
      if (on && w->to) w->to->wishes |= MB_WISH_LISTEN;
      break;
    case KIND_SWITCH:
      on = read_switch(L, row->name);
      if (at) *(bool *)at = on;
      break;
    case KIND_LIMIT:
      n = read_limit(L, row);
      if (at) *(int64_t *)at = n;
      break;
  }
}

static const struct row *row_of(lua_State *L) {
  if (lua_type(L, -2) != LUA_TSTRING) return NULL;
  for (size_t i = 0; i < ROWS; i++) {
    if (strcmp(rows[i].name, lua_tostring(L, -2)) == 0) return &rows[i];
  }
  return NULL;
}

/* Reads the table on top of the stack. */
static void read_table(lua_State *L, struct wishes *w) {
  luaL_checkstack(L, 8, "sandbox");
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    const struct row *row = row_of(L);
    if (!row) unknown(L);
    read_row(L, w, row);
  }
}

const char *mb_sandbox_wish_check(lua_State *L) {
  struct wishes none = {.to = NULL};
  bool is_strict = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "strict") == 0;
  if (is_strict) return NULL;
  if (!lua_istable(L, -1))
    return "\"strict\" or a table of wishes, such as {read = {\"/srv/www\"}}";
  read_table(L, &none);
  return NULL;
}

/* ---- taking ---- */

/* Returns how many entries the lists in the table on top of the stack have. */
static size_t count_entries(lua_State *L) {
  size_t count = 0;
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    if (lua_istable(L, -1)) count += lua_rawlen(L, -1);
  }
  return count;
}

const struct mb_sandbox *mb_sandbox_wish_take(lua_State *L) {
  if (!lua_istable(L, -1)) {
    lua_pop(L, 1);
    return &mb_sandbox_strict;
  }
  size_t count = count_entries(L);
  struct wishes w = {.to = mb_state_new_anchored(L, sizeof *w.to)};
  *w.to = mb_sandbox_strict;
  if (count > 0) {
    w.paths = mb_state_new_anchored(L, count * sizeof *w.paths);
    w.ports = mb_state_new_anchored(L, count * sizeof *w.ports);
    w.sockets = mb_state_new_anchored(L, count * sizeof *w.sockets);
  }
  read_table(L, &w);
  w.to->paths = w.paths;
  w.to->ports = w.ports;
  w.to->sockets = w.sockets;
  lua_pop(L, 1);
  return w.to;
}
