/*
 * listen{…}: checks what a script registers, and finds the listener for the connection we were
 * given.
 */
#ifndef MB_LISTEN_H
#define MB_LISTEN_H

#include <lua.h>
#include <stdbool.h>
#include <stdio.h>

#include "app/listen_check.h"
#include "base/addr.h"

/*
 * What one listen{} call registered: its handlers, as keys of the registry; LUA_NOREF where there is
 * none.
 */
struct mb_service {
  int number; /* of the call, from 1 */
  int prepare, connect, finish;
  lua_Integer memory_limit; /* bytes; 0: none */
  lua_Integer max_fork;     /* processes at once; 0: not said */
};

/* One listener. A userdata in the registry, as are the strings that it points to. */
struct mb_listener {
  struct mb_listener *next;
  const struct mb_service *service;
  enum mb_proto proto;
  const char *text; /* host, path or name; NULL: an interval or a main without a name */
  lua_Integer port;
  double delay;
  bool strict;
  bool proxy_protocol;
  const char *proxy_trust; /* see proxy_trust.h; NULL: not said */
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

/* The listeners in the order of their registration; NULL: none. One for any connection counts. */
const struct mb_listener *mb_listen_first(void);

/*
 * Finds the listener for a connection, or for a replay (local is NULL then).
 * fd      the connection
 * number  the listener to take whatever the address, from 1; 0: the one that matches
 * Returns NULL when none matches.
 */
const struct mb_listener *mb_listen_find(const struct mb_addr *local, int fd, int number);

/* The name by which --interval and --main know a listener: its own, or that of its protocol. */
const char *mb_listen_name(const struct mb_listener *listener);

/* Writes the listeners one a line, as --check shows them: "1 tcp [::]:8080". */
void mb_listen_print(FILE *to);

/* Pushes the listeners as one line of text, for a message. May throw. */
void mb_listen_describe(lua_State *L);

#endif
