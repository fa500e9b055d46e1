/*
 * The parts that all our userdata types have: methods; attributes, which are made when a script asks
 * for them (few scripts do); and fields that a script sets itself.
 */
#ifndef MB_OBJECT_H
#define MB_OBJECT_H

#include <lauxlib.h>

#include "base/addr.h"

/* A type. To a script, getmetatable returns its name in place of the metatable. */
struct mb_object_type {
  const char *key; /* the metatable's, in the registry */
  const char *name;
  lua_CFunction gc, tostring;
  const luaL_Reg *const *methods; /* tables; NULL ends the list */
  const struct mb_attribute *attributes;
};

struct mb_attribute {
  const char *name; /* NULL ends a list */
  void (*push)(lua_State *L, const void *object);
};

/*
 * Pushes the metatable of a type. The first call makes it. obj.NAME is a field that the script has set,
 * or else a method, or else an attribute.
 */
void mb_object_push_type(lua_State *L, const struct mb_object_type *type);

/* Pushes a descriptor, or nil when it is -1. */
void mb_object_push_fd(lua_State *L, int fd);

/* Push a part of an address, or nil when the address has no such part. */
void mb_object_push_ip4(lua_State *L, const struct mb_addr *addr);
void mb_object_push_ip6(lua_State *L, const struct mb_addr *addr);
void mb_object_push_port(lua_State *L, const struct mb_addr *addr);
void mb_object_push_text(lua_State *L, const struct mb_addr *addr);

#endif
