/* Lua 5.1's functions, in 5.3. Its manual says what each does (Lua 5.1 manual, 5 and 7.2). */
#include "api/mb/lua51.h"

#include <lauxlib.h>
#include <limits.h>
#include <lualib.h>
#include <stdbool.h>
#include <string.h>

/* ---- environments: in 5.3, a function's environment is its upvalue _ENV ---- */

/* Returns the number of the upvalue _ENV of the function on top of the stack, and pushes it; or 0. */
static int push_env(lua_State *L) {
  if (lua_iscfunction(L, -1)) return 0;
  const char *name;
  for (int i = 1; (name = lua_getupvalue(L, -1, i)); i++) {
    if (strcmp(name, "_ENV") == 0) return i;
    lua_pop(L, 1);
  }
  return 0;
}

/* Pushes the Lua function that is meant by argument 1: a function, or a level of the stack from 1 on. */
static void push_function(lua_State *L, lua_Integer level) {
  lua_Debug at;
  if (lua_isfunction(L, 1)) {
    lua_pushvalue(L, 1);
    return;
  }
  luaL_argcheck(L, level >= 0, 1, "level must be non-negative");
  if (level > INT_MAX || !lua_getstack(L, (int)level, &at)) luaL_argerror(L, 1, "invalid level");
  lua_getinfo(L, "f", &at);
}

/*
 * Makes the table on top of the stack, which is popped, the environment of the function below it, and of the
 * functions that this function makes from now on; not of others that share its environment. A function that
 * uses no global variable has no environment to be set.
 */
static void set_env(lua_State *L) {
  lua_pushvalue(L, -2);
  int upvalue = push_env(L);
  if (upvalue == 0) {
    lua_pop(L, 2);
    return;
  }
  lua_pop(L, 2);
  if (luaL_loadstring(L, "") != LUA_OK) lua_error(L); /* its upvalue is wanted */
  lua_insert(L, -2);
  lua_setupvalue(L, -2, 1);
  lua_upvaluejoin(L, -2, upvalue, -1, 1);
  lua_pop(L, 1);
}

/* getfenv([f]): returns the environment of a function, or of the one at a level of the stack. */
static int lua51_getfenv(lua_State *L) {
  lua_settop(L, 1);
  lua_Integer level = lua_isfunction(L, 1) ? 0 : luaL_optinteger(L, 1, 1);
  if (!lua_isfunction(L, 1) && level == 0) {
    lua_pushglobaltable(L);
    return 1;
  }
  push_function(L, level);
  if (push_env(L) == 0) lua_pushglobaltable(L);
  return 1;
}

/* setfenv(f, table): returns the function. */
static int lua51_setfenv(lua_State *L) {
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  lua_Integer level = lua_isfunction(L, 1) ? 0 : luaL_checkinteger(L, 1);
  if (!lua_isfunction(L, 1) && level == 0)
    return luaL_error(L, "setfenv: Lua 5.3 cannot set the environment of a thread (level 0)");
  push_function(L, level);
  if (lua_iscfunction(L, -1))
    return luaL_error(L, "'setfenv' cannot change environment of given object");
  lua_pushvalue(L, 2);
  set_env(L);
  return 1;
}

/* ---- modules ---- */

/* Pushes the global table of a name with dots, which is made if there is none. Returns whether it is a table. */
static bool push_global(lua_State *L, const char *name) {
  lua_pushglobaltable(L);
  for (;;) {
    size_t len = strcspn(name, ".");
    lua_pushlstring(L, name, len);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -3) == LUA_TNIL) {
      lua_pop(L, 1);
      lua_newtable(L);
      lua_pushvalue(L, -2);
      lua_pushvalue(L, -2);
      lua_rawset(L, -5);
    }
    lua_replace(L, -3);
    lua_pop(L, 1);
    if (!lua_istable(L, -1)) return false;
    if (name[len] == '\0') return true;
    name += len + 1;
  }
}

/* Pushes the module's table: that which require knows, or the global one. */
static void push_module(lua_State *L, const char *name) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, name) != LUA_TTABLE) {
    lua_pop(L, 1);
    if (!push_global(L, name)) luaL_error(L, "name conflict for module '%s'", name);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, name);
  }
  lua_remove(L, -2);
}

/* Sets the fields of a new module, which is on top of the stack. */
static void name_module(lua_State *L, const char *name) {
  if (lua_getfield(L, -1, "_NAME") == LUA_TNIL) {
    const char *dot = strrchr(name, '.');
    lua_pushvalue(L, -2);
    lua_setfield(L, -3, "_M");
    lua_pushstring(L, name);
    lua_setfield(L, -3, "_NAME");
    lua_pushlstring(L, name, dot ? (size_t)(dot - name) + 1 : 0);
    lua_setfield(L, -3, "_PACKAGE");
  }
  lua_pop(L, 1);
}

/* module(name, ...): makes a module of the calling chunk; the arguments are functions that get its table. */
static int lua51_module(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  int last = lua_gettop(L);
  lua_Debug caller;
  push_module(L, name);
  name_module(L, name);
  if (!lua_getstack(L, 1, &caller) || !lua_getinfo(L, "f", &caller) || lua_iscfunction(L, -1))
    return luaL_error(L, "'module' not called from a Lua function");
  lua_pushvalue(L, -2);
  set_env(L);
  lua_pop(L, 1);
  for (int i = 2; i <= last; i++) {
    /* With module(...) it is the file's name, which require passes to a chunk in 5.3. */
    if (!lua_isfunction(L, i)) continue;
    lua_pushvalue(L, i);
    lua_pushvalue(L, -2);
    lua_call(L, 1, 0);
  }
  return 0;
}

/* package.seeall(module): lets a module see the global variables. */
static int lua51_seeall(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  if (!lua_getmetatable(L, 1)) {
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, -1);
    lua_setmetatable(L, 1);
  }
  lua_pushglobaltable(L);
  lua_setfield(L, -2, "__index");
  return 0;
}

/* ---- tables, and others ---- */

/* table.getn(t) */
static int lua51_getn(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_pushinteger(L, (lua_Integer)lua_rawlen(L, 1));
  return 1;
}

/* table.maxn(t): returns the largest positive number that is a key; 0 when there is none. */
static int lua51_maxn(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_pushinteger(L, 0);
  lua_pushnil(L);
  while (lua_next(L, 1)) {
    lua_pop(L, 1);
    if (lua_type(L, 3) != LUA_TNUMBER || !lua_compare(L, 2, 3, LUA_OPLT)) continue;
    lua_pushvalue(L, 3);
    lua_replace(L, 2);
  }
  return 1;
}

/*
 * Calls the function at index 2 with the key and the value on top of the stack. Returns whether it has
 * returned a value, which is on top then.
 */
static bool visit(lua_State *L) {
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -3);
  lua_pushvalue(L, -3);
  lua_call(L, 2, 1);
  if (!lua_isnil(L, -1)) return true;
  lua_pop(L, 2);
  return false;
}

/* table.foreach(t, f): calls f(key, value) until f returns a value, and returns it. */
static int lua51_foreach(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  lua_pushnil(L);
  while (lua_next(L, 1)) {
    if (visit(L)) return 1;
  }
  return 0;
}

/* table.foreachi(t, f): calls f(index, value) until f returns a value, and returns it. */
static int lua51_foreachi(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_settop(L, 2);
    lua_pushinteger(L, i);
    lua_rawgeti(L, 1, i);
    if (visit(L)) return 1;
  }
  return 0;
}

/* gcinfo(): returns the size of the memory in use, in KiB. */
static int lua51_gcinfo(lua_State *L) {
  lua_pushinteger(L, lua_gc(L, LUA_GCCOUNT, 0));
  return 1;
}

/* ---- the names ---- */

/*
 * Sets the value on top of the stack, which is popped, in the table below it, if that is a table (a program may
 * have taken a library away) and has none of the name.
 */
static void add(lua_State *L, const char *name) {
  if (!lua_istable(L, -2)) {
    lua_pop(L, 1);
    return;
  }
  lua_pushstring(L, name);
  lua_pushvalue(L, -1);
  if (lua_rawget(L, -4) != LUA_TNIL) {
    lua_pop(L, 3);
    return;
  }
  lua_pop(L, 1);
  lua_insert(L, -2);
  lua_rawset(L, -3);
}

static void add_function(lua_State *L, const char *name, lua_CFunction function) {
  lua_pushcfunction(L, function);
  add(L, name);
}

/* Adds to the table on top of the stack a field that it has under another name in 5.3. */
static void add_renamed(lua_State *L, const char *name, const char *now) {
  lua_pushstring(L, now);
  if (lua_istable(L, -2)) lua_rawget(L, -2);
  add(L, name);
}

/*
 * __index of the libraries' tables: a name that 5.3 has not. Adds the names of 5.1 to all of these tables.
 */
static int fill_libraries(lua_State *L) {
  lua_settop(L, 2);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, 3, LUA_TABLIBNAME);
  add_function(L, "foreach", lua51_foreach);
  add_function(L, "foreachi", lua51_foreachi);
  add_function(L, "getn", lua51_getn);
  add_function(L, "maxn", lua51_maxn);
  lua_getfield(L, 3, LUA_LOADLIBNAME);
  add_function(L, "seeall", lua51_seeall);
  add_renamed(L, "loaders", "searchers");
  lua_getfield(L, 3, LUA_MATHLIBNAME);
  add_renamed(L, "mod", "fmod");
  lua_getfield(L, 3, LUA_STRLIBNAME);
  add_renamed(L, "gfind", "gmatch");
  if (lua_getmetatable(L, 1)) { /* shared by these tables: once is enough */
    lua_pushnil(L);
    lua_setfield(L, -2, "__index");
  }
  lua_settop(L, 2);
  lua_rawget(L, 1);
  return 1;
}

/*
 * The global names are set at once, as programs and modules such as strict give the global table a metatable of
 * their own. The libraries' wait until a program looks for one.
 */
void mb_lua51_open(lua_State *L) {
  static const char libraries[][sizeof LUA_LOADLIBNAME] = {LUA_LOADLIBNAME, LUA_MATHLIBNAME,
                                                           LUA_STRLIBNAME, LUA_TABLIBNAME};
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, fill_libraries);
  lua_setfield(L, -2, "__index");
  for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
    lua_getglobal(L, libraries[i]);
    lua_pushvalue(L, -2);
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  lua_pushglobaltable(L);
  add_function(L, "gcinfo", lua51_gcinfo);
  add_function(L, "getfenv", lua51_getfenv);
  add_function(L, "module", lua51_module);
  add_function(L, "setfenv", lua51_setfenv);
  add_renamed(L, "loadstring", "load");
  lua_getfield(L, -1, LUA_TABLIBNAME);
  lua_getfield(L, -1, "unpack");
  lua_remove(L, -2);
  add(L, "unpack");
  lua_pop(L, 1);
}
