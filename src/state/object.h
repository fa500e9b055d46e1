/*
 * What the userdata types of ours have in common: methods, attributes that are made when they are
 * asked for (few scripts ask), and fields that a script sets itself.
 */
#ifndef MB_OBJECT_H
#define MB_OBJECT_H

#include <lauxlib.h>

#include "base/addr.h"

/* A type. Its name is what getmetatable gives to a script in place of the metatable. */
struct mb_object_type {
  const char *key; /* of the registry */
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
 * Pushes the metatable of a type, which is made when it is asked for first. A field of the script's
 * own comes first, then a method, then an attribute.
 */
void mb_object_push_type(lua_State *L, const struct mb_object_type *type);

/* Pushes a descriptor, or nil when it is -1. */
void mb_object_push_fd(lua_State *L, int fd);

/* Pushes what an address has of this, or nil. */
void mb_object_push_ip4(lua_State *L, const struct mb_addr *addr);
void mb_object_push_ip6(lua_State *L, const struct mb_addr *addr);
void mb_object_push_port(lua_State *L, const struct mb_addr *addr);
void mb_object_push_text(lua_State *L, const struct mb_addr *addr);

#endif
