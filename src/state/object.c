/* Serves a script's obj.NAME and obj.NAME = value, for every userdata type of ours. */
#include "state/object.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

void mb_object_push_fd(lua_State *L, int fd) {
  if (fd >= 0) {
    lua_pushinteger(L, fd);
  } else {
    lua_pushnil(L);
  }
}

void mb_object_push_ip4(lua_State *L, const struct mb_addr *addr) {
  const unsigned char *bytes = mb_addr_ip4(addr);
  if (bytes) {
    lua_pushlstring(L, (const char *)bytes, 4);
  } else {
    lua_pushnil(L);
  }
}

void mb_object_push_ip6(lua_State *L, const struct mb_addr *addr) {
  unsigned char bytes[16];
  if (mb_addr_ip6(addr, bytes)) {
    lua_pushlstring(L, (const char *)bytes, sizeof bytes);
  } else {
    lua_pushnil(L);
  }
}

void mb_object_push_port(lua_State *L, const struct mb_addr *addr) {
  if (mb_addr_port(addr)) {
    lua_pushinteger(L, mb_addr_port(addr));
  } else {
    lua_pushnil(L);
  }
}

void mb_object_push_text(lua_State *L, const struct mb_addr *addr) {
  char text[MB_ADDR_TEXT_MAX];
  if (mb_addr_text(addr, text)) {
    lua_pushstring(L, text);
  } else {
    lua_pushnil(L);
  }
}

/* The upvalues of the metamethods. */
#define METATABLE lua_upvalueindex(1)
#define METHODS   lua_upvalueindex(2) /* those that a script has asked for */
#define TYPE      lua_upvalueindex(3)

/* Returns the object at index 1. Checks it, as the debug library can call a metamethod with anything. */
static void *check_object(lua_State *L) {
  if (!lua_getmetatable(L, 1) || !lua_rawequal(L, -1, METATABLE))
    luaL_argerror(L, 1, "an object of another type");
  lua_pop(L, 1);
  return lua_touserdata(L, 1);
}

/* Pushes a method that no script has asked for before. Returns whether there is one. */
static bool push_method(lua_State *L, const struct mb_object_type *type, const char *name) {
  for (const luaL_Reg *const *table = type->methods; *table; table++) {
    for (const luaL_Reg *row = *table; row->name; row++) {
      if (row->name[0] != name[0] || strcmp(row->name, name) != 0) continue;
      lua_pushvalue(L, 2);
      lua_pushcfunction(L, row->func);
      lua_rawset(L, METHODS);
      lua_pushcfunction(L, row->func);
      return true;
    }
  }
  return false;
}

/* __index(object, key) */
static int object_index(lua_State *L) {
  luaL_checktype(L, 1, LUA_TUSERDATA);
  if (lua_getuservalue(L, 1) == LUA_TTABLE) {
    lua_pushvalue(L, 2);
    if (lua_rawget(L, -2) != LUA_TNIL) return 1;
  }
  lua_pushvalue(L, 2);
  if (lua_rawget(L, METHODS) != LUA_TNIL) return 1;
  if (lua_type(L, 2) != LUA_TSTRING) return 1;
  size_t len;
  const char *name = lua_tolstring(L, 2, &len);
  if (strlen(name) != len) return 1;
  const struct mb_object_type *type = lua_touserdata(L, TYPE);
  for (const struct mb_attribute *a = type->attributes; a->name; a++) {
    if (strcmp(name, a->name) != 0) continue;
    a->push(L, check_object(L));
    return 1;
  }
  if (push_method(L, type, name)) return 1; /* last: from now on it is found above */
  return 1; /* nil; so is socket.interval but in an interval's handler */
}

/* __newindex(object, key, value). The userdata has a table for the fields that a script sets. */
static int object_newindex(lua_State *L) {
  check_object(L);
  if (lua_getuservalue(L, 1) != LUA_TTABLE) {
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setuservalue(L, 1);
  }
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 3);
  lua_rawset(L, -3);
  return 0;
}

/*
 * The metatable gets into the registry only when it is whole, as memory may run out half-way. Scripts
 * cannot get at it (__metatable), as the metamethods trust the arguments that Lua gives them.
 */
void mb_object_push_type(lua_State *L, const struct mb_object_type *type) {
  if (luaL_getmetatable(L, type->key) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_createtable(L, 0, 6);
  lua_pushcfunction(L, type->gc);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, type->tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushstring(L, type->name);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "__name"); /* for messages */
  lua_setfield(L, -2, "__metatable");
  lua_pushvalue(L, -1);
  lua_pushcclosure(L, object_newindex, 1);
  lua_setfield(L, -2, "__newindex");
  lua_pushvalue(L, -1);
  lua_createtable(L, 0, 8); /* methods: few scripts ask for more */
  lua_pushlightuserdata(L, (void *)type);
  lua_pushcclosure(L, object_index, 3);
  lua_setfield(L, -2, "__index");
  lua_pushvalue(L, -1);
  lua_setfield(L, LUA_REGISTRYINDEX, type->key);
}
