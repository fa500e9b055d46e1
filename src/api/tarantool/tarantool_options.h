/* Sets and reads socket options by name, for mb.tarantool. */
#ifndef MB_TARANTOOL_OPTIONS_H
#define MB_TARANTOOL_OPTIONS_H

#include <lua.h>

/*
 * Sets an option of a descriptor. Stack: level, name, value from `index` on.
 * Returns 0 or -errno. Throws when the option is unknown or can only be read, or when the value has the wrong
 * type.
 * Source: reference, "s:setsockopt".
 */
int mb_tarantool_setsockopt(lua_State *L, int index, int fd);

/*
 * Pushes the value of an option. Stack: level, name from `index` on.
 * Returns 0; or -errno, and pushes nothing. Throws when the option is unknown.
 */
int mb_tarantool_getsockopt(lua_State *L, int index, int fd);

#endif
