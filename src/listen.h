/*
 * listen{…}: checks what a script registers, and finds the listener for the connection we were
 * given.
 */
#ifndef MB_LISTEN_H
#define MB_LISTEN_H

#include <lua.h>
#include <stdbool.h>
#include <stdio.h>

#include "peer.h"

/*
 * The handlers that one listen{} call registered, as keys of the registry; LUA_NOREF where there is
 * none.
 */
struct mb_service {
  int prepare, connect, finish;
  lua_Integer memory_limit; /* bytes; 0: none */
};

/* Registers the global function. May throw. */
void mb_listen_open(lua_State *L);

/* From here on, calling listen is an error: a handler runs. */
void mb_listen_close(void);

/*
 * Registers the function on top of the stack as the handler of whatever connection comes; pops it.
 * May throw.
 */
void mb_listen_any(lua_State *L);

/* How many listeners there are; one that takes any connection counts. */
int mb_listen_count(void);

/*
 * Finds the service for a connection, or for a replay (local is NULL then).
 * number  the listener to take whatever the address, from 1; 0: the one that matches
 * Returns NULL when none matches.
 */
const struct mb_service *mb_listen_find(const struct mb_addr *local, int number);

/* Writes the listeners one a line, as --check shows them: "1 tcp [::]:8080". */
void mb_listen_print(FILE *to);

/* Pushes the listeners as one line of text, for a message. May throw. */
void mb_listen_describe(lua_State *L);

#endif
