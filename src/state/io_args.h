/* Arguments that functions of moonbridge_io share, and how their failures are told. */
#ifndef MB_IO_ARGS_H
#define MB_IO_ARGS_H

#include <lua.h>
#include <netdb.h>
#include <stdbool.h>

#include "base/addr.h"

/* A string for the system, which would take a NUL for its end; throws when it is none. */
const char *mb_io_check_string(lua_State *L, int index);

/* A host and a port, as text. */
struct mb_io_endpoint {
  const char *host;
  char port[NI_MAXSERV];
  char target[NI_MAXHOST]; /* both, for a message: "localhost:80"; cut when it is too long */
};

/*
 * Reads (host, port) from index on: port is a number or a service's name. Throws when they are
 * wrong.
 */
void mb_io_check_endpoint(lua_State *L, int index, bool passive, struct mb_io_endpoint *ret);

/*
 * Looks the endpoint up.
 * Returns 0, or the number of results of a failure, which are on the stack.
 */
int mb_io_resolve(lua_State *L, const struct mb_io_endpoint *endpoint, bool passive,
                  struct addrinfo **ret);

/*
 * Reads a Unix socket's path.
 * Returns 0, or the number of results of a failure, which are on the stack.
 */
int mb_io_check_path(lua_State *L, int index, struct mb_addr *ret);

/* Pushes nil, "WHAT: message", and the number for an error -r. Returns 3. */
int mb_io_push_error(lua_State *L, const char *what, int r);

#endif
