/*
 * listen{...}: registers the listeners of a script, and finds the one for the connection that we were
 * given. The listeners belong to the Lua state: two states in a process know nothing of each other.
 */
#ifndef MB_LISTEN_H
#define MB_LISTEN_H

#include <lua.h>
#include <stdbool.h>
#include <stdio.h>

#include "app/listen_fields.h"
#include "app/options.h"
#include "base/addr.h"
#include "sandbox/sandbox.h"

/*
 * The handlers and limits that one listen{} call gives to all its listeners. A handler is a key of the
 * registry, or LUA_NOREF.
 */
struct mb_service {
  int number; /* of the call, from 1 */
  int prepare, connect, finish;
  lua_Integer memory_limit;         /* bytes; 0: none */
  const struct mb_sandbox *sandbox; /* NULL: not said */
  /* What pool_policy.h makes of these holds in a pool, and max_fork in generated units, too. */
  lua_Integer pre_fork, min_fork; /* MB_COUNT_NOT_SAID without the field */
  lua_Integer max_fork;           /* 0: not said */
  double fork_delay, fork_error_delay,
      exit_delay;                    /* seconds; MB_PAUSE_NOT_SAID without the field */
  double idle_timeout;               /* seconds; 0: none */
  lua_Integer max_requests_per_fork; /* connections; 0: no limit */
};

#define MB_COUNT_NOT_SAID (-1)
#define MB_PAUSE_NOT_SAID (-1.0)

/* One listener. A userdata in the registry, as are the strings that it points to. */
struct mb_listen_entry {
  struct mb_listen_entry *next;
  const struct mb_service *service;
  enum mb_proto proto;
  const char *text; /* host, path or name; NULL: an interval or a main without a name */
  lua_Integer port;
  double delay;
  bool localhost;
  bool strict;
  bool proxy_protocol;
  const char *proxy_trust; /* see proxy_trust.h; NULL: not said */
};

/* Sets the globals listen and _MOONBRIDGE_VERSION, and makes place for what listen registers. May throw. */
void mb_listen_open(lua_State *L);

/*
 * From here on, calling listen is an error, as a handler runs.
 * reason  the error's text behind "listen: "; it is kept as it is, not copied
 */
void mb_listen_close(lua_State *L, const char *reason);

/*
 * Registers the function on top of the stack as the handler of whatever connection comes; pops it.
 * May throw.
 */
void mb_listen_any(lua_State *L);

/* Writes a listener for a message: "tcp 127.0.0.1:80". */
#define MB_LISTEN_TEXT_MAX 256
void mb_listen_describe_entry(const struct mb_listen_entry *entry,
                              char ret_text[MB_LISTEN_TEXT_MAX]);

/*
 * Returns the first listener; the others follow in the order of their registration. A handler of any
 * connection counts as one. NULL: the script has registered nothing.
 */
const struct mb_listen_entry *mb_listen_first(lua_State *L);

/*
 * Finds the listener for a connection, or for a replay (local is NULL then).
 * fd      the connection
 * number  the listener to take whatever the address, from 1; 0: the one that matches
 * Returns NULL when none matches.
 */
const struct mb_listen_entry *mb_listen_find(lua_State *L, const struct mb_addr *local, int fd,
                                             int number);

/* Returns the name by which --interval and --main know a listener: its own, or its protocol's. */
const char *mb_listen_name(const struct mb_listen_entry *entry);

/* Writes the listeners as --check shows them, "1 tcp [::]:8080", and below each its sandbox. */
void mb_listen_print(lua_State *L, const struct mb_options *options, FILE *to);

/* Pushes the listeners as one line of text, for a message. May throw. */
void mb_listen_describe(lua_State *L);

#endif
