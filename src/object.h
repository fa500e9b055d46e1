/*
 * What the userdata types of ours have in common: methods, attributes that are made when they are
 * asked for (few scripts ask), and fields that a script sets itself.
 */
#ifndef MB_OBJECT_H
#define MB_OBJECT_H

#include <lua.h>

#include "peer.h"

struct mb_attribute {
  const char *name; /* NULL ends a list */
  void (*push)(lua_State *L, const void *object);
};

/*
 * Completes a type: the metatable is below the table of methods, which is on top and is popped.
 * A field of the script's own comes first, then a method, then an attribute.
 * type        its name, which getmetatable gives to a script in place of the metatable: the
 *             metamethods trust what Lua calls them with
 * attributes  kept, not copied
 */
void mb_object_set_index(lua_State *L, const char *type, const struct mb_attribute *attributes);

/* Pushes what an address has of this, or nil. */
void mb_object_push_ip4(lua_State *L, const struct mb_addr *addr);
void mb_object_push_ip6(lua_State *L, const struct mb_addr *addr);
void mb_object_push_port(lua_State *L, const struct mb_addr *addr);
void mb_object_push_text(lua_State *L, const struct mb_addr *addr);

#endif
