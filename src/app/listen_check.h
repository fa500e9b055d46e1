/*
 * Checks a listen{} call against the rows of listen_fields.h. Every field is checked before anything is
 * registered.
 */
#ifndef MB_LISTEN_CHECK_H
#define MB_LISTEN_CHECK_H

#include <lua.h>

#include "app/listen_fields.h"

/*
 * Checks the fields of the table at index that are not listeners: handlers, limits, fork settings.
 * Throws an error that names the field, its value, what is expected, and what the field is for.
 */
void mb_listen_check_call(lua_State *L, int index);

/* Checks the table at index, the call's listener of this number, in the same way. */
void mb_listen_check_listener(lua_State *L, int index, int number);

/*
 * Pushes a field of the table at index, past any metatable, which could give another value each time.
 * Returns its type.
 */
int mb_listen_field(lua_State *L, int index, const char *name);

/* Returns the protocol that the value on top of the stack names; MB_PROTO_ANY when it names none. */
enum mb_proto mb_listen_proto(lua_State *L);

#endif
