/* Tables of C functions, each of which gets into the table when a script first asks for it. */
#include "state/lazy_functions.h"

#include <string.h>

/* The upvalues of the metamethods. */
#define FUNCTIONS lua_upvalueindex(1)
#define OTHERS    lua_upvalueindex(2)

/* Sets the value on top of the stack as a field of the table at index 1, under the name at index 2. */
static int keep(lua_State *L) {
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -2);
  lua_rawset(L, 1);
  return 1;
}

/* __index(table, name) */
static int lazy_index(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  if (lua_type(L, 2) != LUA_TSTRING) return 0;
  const char *name = lua_tostring(L, 2);
  for (const luaL_Reg *f = lua_touserdata(L, FUNCTIONS); f->name; f++) {
    if (f->name[0] != name[0] || strcmp(f->name, name) != 0) continue;
    lua_pushcfunction(L, f->func);
    return keep(L);
  }
  lua_CFunction others = lua_tocfunction(L, OTHERS);
  return others && others(L) == 1 ? keep(L) : 0;
}

static int lazy_next(lua_State *L) {
  lua_settop(L, 2);
  return lua_next(L, 1) ? 2 : 0;
}

/* __pairs(table): fills the table. */
static int lazy_pairs(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  for (const luaL_Reg *f = lua_touserdata(L, FUNCTIONS); f->name; f++) {
    lua_pushstring(L, f->name);
    if (lua_rawget(L, 1) == LUA_TNIL) {
      lua_pushstring(L, f->name);
      lua_pushcfunction(L, f->func);
      lua_rawset(L, 1);
    }
    lua_settop(L, 1);
  }
  lua_pushcfunction(L, lazy_next);
  lua_pushvalue(L, 1);
  return 2;
}

void mb_lazy_functions_push(lua_State *L, const luaL_Reg *functions, lua_CFunction others) {
  lua_createtable(L, 0, 2);
  lua_pushlightuserdata(L, (void *)functions);
  if (others) lua_pushcfunction(L, others);
  lua_pushcclosure(L, lazy_index, others ? 2 : 1);
  lua_setfield(L, -2, "__index");
  lua_pushlightuserdata(L, (void *)functions);
  lua_pushcclosure(L, lazy_pairs, 1);
  lua_setfield(L, -2, "__pairs");
}

void mb_lazy_functions_table(lua_State *L, const luaL_Reg *functions) {
  lua_createtable(L, 0, 8); /* few are asked for */
  mb_lazy_functions_push(L, functions, NULL);
  lua_setmetatable(L, -2);
}
