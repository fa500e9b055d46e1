/*
 * Chooses between mb-handle and mb-handle-static. The script's own state is only read, by raw access: a script may have
 * changed whatever Lua has; its text is looked at in another state.
 */
#include "app/deploy_program.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/embedded.h"
#include "app/listen.h"
#include "app/sandbox_step.h"
#include "state/state.h"

/* How the reason begins that says that a module was loaded; program.lua writes it. */
#define HAS_LOADED "the script has loaded "

static void set_why(char why[MB_DEPLOY_WHY_MAX], const char *text) {
  snprintf(why, MB_DEPLOY_WHY_MAX, "%s", text);
}

/* ---- what the script's state says ---- */

/* Adds "KIND=NAME" and a NUL to the buffer. */
static void add_fact(luaL_Buffer *b, const char *kind, const char *name, size_t len) {
  luaL_addstring(b, kind);
  luaL_addlstring(b, name, len);
  luaL_addchar(b, '\0');
}

/* Returns whether the module whose value is on top is one of ours, under another name, as install{} makes them. */
static bool is_ours(lua_State *L, int loaded) {
  const void *value = lua_topointer(L, -1);
  bool found = false;
  lua_pushnil(L);
  while (value && lua_next(L, loaded)) {
    found = found || (lua_type(L, -2) == LUA_TSTRING && mb_embedded_has(lua_tostring(L, -2)) &&
                      lua_topointer(L, -1) == value);
    lua_pop(L, 1);
  }
  if (!value) lua_pop(L, 1);
  return found;
}

/* Returns whether the function on top was made by mb.tarantool: a chunk of a file has "@" before its name. */
static bool is_tarantools(lua_State *L) {
  lua_Debug about;
  if (!lua_isfunction(L, -1) || lua_iscfunction(L, -1)) return false;
  lua_pushvalue(L, -1);
  lua_getinfo(L, ">S", &about);
  return strcmp(about.source, "=mb.tarantool") == 0;
}

/*
 * Returns the facts as a string: "path=", package.path; "given=", modules that are there whatever the files are;
 * "loaded=", all others that are loaded.
 */
static int collect(lua_State *L) {
  luaL_Buffer b;
  size_t len;
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_pushliteral(L, "package");
  lua_rawget(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_pushliteral(L, "path");
  lua_rawget(L, 2);
  lua_getfield(L, LUA_REGISTRYINDEX, "_PRELOAD");
  luaL_checktype(L, 4, LUA_TTABLE);
  /* A buffer keeps something on the stack: each fact is a string of its own, and they are joined. */
  lua_pushliteral(L, "");
  const char *path = luaL_checklstring(L, 3, &len);
  luaL_buffinit(L, &b);
  add_fact(&b, "path=", path, len);
  luaL_pushresult(&b);
  lua_concat(L, 2);
  for (int table = 1; table <= 4; table += 3) {
    lua_pushnil(L);
    while (lua_next(L, table)) {
      bool is_given = table == 1 ? is_ours(L, 1) : is_tarantools(L);
      lua_pop(L, 1);
      /* Its keys: 5 is the text so far, 6 the key, which must stay as it is. */
      if (lua_type(L, 6) != LUA_TSTRING || (table == 4 && !is_given)) continue;
      const char *name = lua_tolstring(L, 6, &len);
      lua_pushvalue(L, 5);
      luaL_buffinit(L, &b);
      add_fact(&b, is_given ? "given=" : "loaded=", name, len);
      luaL_pushresult(&b);
      lua_concat(L, 2);
      lua_replace(L, 5);
    }
  }
  return 1;
}

/* ---- what the text says ---- */

struct examination {
  const char *path, *facts;
  size_t facts_size;
  bool is_pool;
  char *why;
};

/* Calls mb.deploy.program.examine. */
static int examine(lua_State *L) {
  const struct examination *e = lua_touserdata(L, 1);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "mb.deploy.program");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "examine");
  lua_pushstring(L, e->path);
  lua_pushlstring(L, e->facts, e->facts_size);
  lua_pushboolean(L, e->is_pool);
  lua_call(L, 3, 1);
  set_why(e->why, lua_isnil(L, -1) ? "" : luaL_checkstring(L, -1));
  return 0;
}

static enum mb_exit examine_text(lua_State *L, const struct mb_script *script, void *context) {
  (void)script;
  lua_pushcfunction(L, examine);
  lua_pushlightuserdata(L, context);
  if (mb_state_call(L, 1, 0) == LUA_OK) return MB_EXIT_OK;
  lua_pop(L, 1);
  return MB_EXIT_HANDLER;
}

/* Returns whether a path is that of the file, or of a directory above it. */
static bool covers(const char *path, const char *file) {
  size_t len = strlen(path);
  while (len > 0 && path[len - 1] == '/') len--;
  return strncmp(path, file, len) == 0 && (file[len] == '\0' || file[len] == '/');
}

/* Returns whether a sandbox lets a process read what names are looked up by. */
static bool reads_names(const struct mb_sandbox *s) {
  static const char files[][19] = {"/etc/hosts", "/etc/nsswitch.conf", "/etc/protocols",
                                   "/etc/resolv.conf", "/etc/services"};
  for (size_t i = 0; i < s->path_count * (sizeof files / sizeof *files); i++) {
    if (covers(s->paths[i % s->path_count].path, files[i / s->path_count])) return true;
  }
  return false;
}

/* Returns whether a handler would be locked in such a way that it can look names up itself, but start no program. */
static bool is_locked_in(lua_State *L, const struct mb_options *options) {
  const unsigned network = MB_WISH_TCP | MB_WISH_UDP | MB_WISH_ANY_TCP;
  for (const struct mb_listen_entry *l = mb_listen_first(L); l; l = l->next) {
    const struct mb_sandbox *s = mb_sandbox_step_wishes(l->service, options);
    if (s && (s->looks_up_names || s->wishes & network || reads_names(s))) return true;
  }
  return false;
}

void mb_deploy_program_examine(lua_State *L, const struct mb_script *script,
                               char ret_why[MB_DEPLOY_WHY_MAX]) {
  set_why(ret_why, "the script could not be looked at");
  if (script->options->style) {
    set_why(ret_why, "with --style the program is loaded when a connection comes");
    return;
  }
  lua_pushcfunction(L, collect);
  if (mb_state_call(L, 0, 1) == LUA_OK) {
    struct examination e = {.path = script->path, .is_pool = script->options->pool, .why = ret_why};
    e.facts = lua_tolstring(L, -1, &e.facts_size);
    mb_script_none(script->options, examine_text, &e);
  }
  lua_pop(L, 1);
  if (!ret_why[0] && is_locked_in(L, script->options))
    set_why(ret_why, "in its sandbox only mb-handle can look names up");
}

bool mb_deploy_program_is_loaded(const char *why) {
  return strncmp(why, HAS_LOADED, sizeof HAS_LOADED - 1) == 0;
}

int mb_deploy_program_find(char ret_program[PATH_MAX], char ret_static[PATH_MAX]) {
  ssize_t n = readlink("/proc/self/exe", ret_program, PATH_MAX - 1);
  if (n < 0) return -errno;
  ret_program[n] = '\0';
  int size = snprintf(ret_static, PATH_MAX, "%s-static", ret_program);
  if (size >= PATH_MAX || access(ret_static, X_OK) != 0) ret_static[0] = '\0';
  return 0;
}
