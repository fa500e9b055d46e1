/* What a listen{} call may say: every field is checked before anything is registered. */
#ifndef MB_LISTEN_CHECK_H
#define MB_LISTEN_CHECK_H

#include <lua.h>

enum mb_proto {
  MB_PROTO_ANY, /* no listener is given: whatever connection comes */
  MB_PROTO_TCP,
  MB_PROTO_TCP4,
  MB_PROTO_TCP6,
  MB_PROTO_LOCAL,
  MB_PROTO_INTERVAL,
  MB_PROTO_MAIN,
};

/*
 * Checks the fields of the table at index that are not listeners: handlers, limits, fork settings.
 * Throws an error that names the field, its value and what is expected.
 */
void mb_listen_check_service(lua_State *L, int index);

/* Checks the table at index, the call's listener of this number, in the same way. */
void mb_listen_check_listener(lua_State *L, int index, int number);

/*
 * Pushes a field of the table at index, past any metatable, which could give another value each time.
 * Returns its type.
 */
int mb_listen_field(lua_State *L, int index, const char *name);

/* The protocol of a listener that was checked. */
enum mb_proto mb_listen_proto(lua_State *L, int index);

#endif
