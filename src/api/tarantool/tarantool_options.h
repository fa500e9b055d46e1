/* Socket options by name, each with the form of its value, for mb.tarantool. */
#ifndef MB_TARANTOOL_OPTIONS_H
#define MB_TARANTOOL_OPTIONS_H

#include <lua.h>

/*
 * Stack: …, level, name, value from index on. Sets an option of a descriptor.
 * Returns 0 or -errno. Throws when the option is unknown or can only be read, or the value has the
 * wrong type.
 * Source: reference, "s:setsockopt".
 */
int mb_tarantool_setsockopt(lua_State *L, int index, int fd);

/* Stack: …, level, name from index on. Pushes the value, or nothing when it returns -errno. */
int mb_tarantool_getsockopt(lua_State *L, int index, int fd);

#endif
