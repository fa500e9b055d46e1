/* Looks for the module that has the script's name. */
#include "app/own_name.h"

#include <lauxlib.h>
#include <string.h>
#include <sys/stat.h>

bool mb_own_name_is(const char *name, const char *script) {
  const char *slash = strrchr(script, '/');
  const char *base = slash ? slash + 1 : script;
  size_t len = strlen(name);
  return strncmp(base, name, len) == 0 && strcmp(base + len, ".lua") == 0;
}

static bool is_same_file(const char *a, const char *b) {
  struct stat x, y;
  return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Pushes the name of the first file for a module in package.path that is not the script; or nil. */
static bool push_file(lua_State *L, const char *name, const char *script) {
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "path");
  lua_getfield(L, -2, "searchpath");
  const char *template = lua_tostring(L, -2);
  while (template) {
    size_t len = strcspn(template, ";");
    lua_pushvalue(L, -1);
    lua_pushstring(L, name);
    lua_pushlstring(L, template, len);
    lua_call(L, 2, 1);
    const char *file = lua_tostring(L, -1);
    if (file && !is_same_file(file, script)) return true;
    lua_pop(L, 1);
    template = template[len] ? template + len + 1 : NULL;
  }
  lua_pushnil(L);
  return false;
}

/* Pushes what a searcher may return for another file than the script. Returns whether there is one. */
static bool push_loader(lua_State *L, const char *name, const char *script) {
  if (!push_file(L, name, script)) return false;
  const char *file = lua_tostring(L, -1);
  if (luaL_loadfile(L, file) != LUA_OK)
    luaL_error(L, "error loading module '%s' from file '%s':\n\t%s", name, file,
               lua_tostring(L, -1));
  lua_insert(L, -2);
  return true;
}

int mb_own_name_search(lua_State *L, lua_CFunction searcher, const char *script) {
  const char *name = lua_tostring(L, 1);
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "searchers");
  int searchers = lua_gettop(L);
  for (lua_Integer i = 1; lua_rawgeti(L, searchers, i) != LUA_TNIL; i++) {
    if (lua_tocfunction(L, -1) != searcher) {
      lua_pushvalue(L, 1);
      lua_call(L, 1, 2);
      const char *file = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
      if (lua_isfunction(L, -2) &&
          (!file || !is_same_file(file, script) || push_loader(L, name, script)))
        return 2;
    }
    lua_settop(L, searchers);
  }
  return luaL_error(
      L,
      "module '%s' not found: %s is the script itself; a module of that name may be in another "
      "directory, which the environment variable LUA_PATH names as \"/DIRECTORY/?.lua;;\"",
      name, script);
}
