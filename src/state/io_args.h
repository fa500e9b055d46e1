/* Reads arguments that several functions of moonbridge_io take, and reports their failures. */
#ifndef MB_IO_ARGS_H
#define MB_IO_ARGS_H

#include <lua.h>
#include <netdb.h>
#include <stdbool.h>

#include "base/addr.h"

/* Returns a string for the system. Throws when it is no string, or has a NUL, which would end it there. */
const char *mb_io_check_string(lua_State *L, int index);

/* A host and a port, as text. */
struct mb_io_endpoint {
  const char *host;
  char port[NI_MAXSERV];
  char target[NI_MAXHOST]; /* both, for a message: "localhost:80"; cut off when it is too long */
};

/*
 * Reads (host, port) from index on. The port is a number or the name of a service. Throws when they
 * are wrong.
 */
void mb_io_check_endpoint(lua_State *L, int index, bool passive, struct mb_io_endpoint *ret);

/*
 * Looks the endpoint up.
 * Returns 0, or pushes what the function returns on failure, and returns how many values that are.
 */
int mb_io_resolve(lua_State *L, const struct mb_io_endpoint *endpoint, bool passive,
                  struct addrinfo **ret);

/*
 * Reads the path of a Unix socket.
 * Returns 0, or pushes what the function returns on failure, and returns how many values that are.
 */
int mb_io_check_path(lua_State *L, int index, struct mb_addr *ret);

/* Pushes nil, "WHAT: message", and the number -r of an error. Returns 3. */
int mb_io_push_error(lua_State *L, const char *what, int r);

#endif
