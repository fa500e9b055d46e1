/* moonbridge_io.tcpconnect and localconnect. */
#include "api/io/io_connect.h"

#include "base/connect.h"
#include "socket/handle.h"
#include "socket/handle_methods.h"
#include "state/io_args.h"
#include "state/state.h"

/* Collects garbage when memory runs out, and throws when that does not help. */
static struct mb_attempt *new_attempt(lua_State *L, struct mb_alloc *alloc, const char *target) {
  struct mb_attempt *attempt = mb_attempt_new(alloc, target);
  if (attempt) return attempt;
  lua_gc(L, LUA_GCCOLLECT, 0);
  attempt = mb_attempt_new(alloc, target);
  if (!attempt) mb_state_no_memory(L);
  return attempt;
}

/*
 * Starts to connect a handle to an endpoint.
 * Returns 0, or the number of results of a failure.
 */
static int start(lua_State *L, struct mb_handle *h, const struct mb_io_endpoint *endpoint) {
  h->attempt = new_attempt(L, h->alloc, endpoint->target);
  struct addrinfo *addresses;
  int results = mb_io_resolve(L, endpoint, false, &addresses);
  if (results > 0) return results;
  mb_attempt_set_addresses(h->attempt, addresses);
  int fd = mb_attempt_start(h->attempt);
  if (mb_state_made_room(L, fd)) fd = mb_attempt_start(h->attempt);
  if (fd < 0) return mb_handle_push_error(L, h, fd);
  mb_handle_attach(h, mb_channel_of(fd, fd, MB_FD_TCP));
  h->outgoing = true;
  return 0;
}

static int tcpconnect(lua_State *L, bool wait) {
  struct mb_io_endpoint endpoint;
  mb_io_check_endpoint(L, 1, false, &endpoint);
  lua_settop(L, 2); /* keeps the strings that the endpoint points to */
  struct mb_handle *h = mb_handle_new(L);
  int results = start(L, h, &endpoint);
  if (results > 0) return results;
  int r = wait ? mb_handle_decide(h, true) : 0;
  if (r < 0) {
    results = mb_handle_push_error(L, h, r);
    mb_handle_reset(h);
    return results;
  }
  return 1;
}

/*
 * moonbridge_io.tcpconnect(host, port)
 * Connects to the first address of the host that takes the connection. port may be a service's name.
 * Returns a socket; or nil, message, errno. After a failed lookup, getaddrinfo's number, which is negative,
 * takes the place of errno.
 * Source: reference, "moonbridge_io.tcpconnect".
 */
int mb_io_tcpconnect(lua_State *L) { return tcpconnect(L, true); }

/*
 * moonbridge_io.tcpconnect_nb(host, port)
 * As tcpconnect, but waits only for the lookup of a name, not for the connection. The first read or write
 * may be what reports a failure.
 */
int mb_io_tcpconnect_nb(lua_State *L) { return tcpconnect(L, false); }

static int localconnect(lua_State *L, bool wait) {
  struct mb_addr addr;
  int results = mb_io_check_path(L, 1, &addr);
  if (results > 0) return results;
  struct mb_handle *h = mb_handle_new(L);
  int fd = mb_connect_local(&addr, wait);
  if (mb_state_made_room(L, fd)) fd = mb_connect_local(&addr, wait);
  if (fd < 0) return mb_io_push_error(L, lua_tostring(L, 1), fd);
  mb_handle_attach(h, mb_channel_of(fd, fd, MB_FD_LOCAL));
  h->outgoing = true;
  h->remote = addr;
  return 1;
}

/*
 * moonbridge_io.localconnect(path)
 * Connects to a Unix socket; "@NAME" means an abstract one.
 * Returns a socket; or nil, message, errno.
 * Source: reference, "moonbridge_io.localconnect".
 */
int mb_io_localconnect(lua_State *L) { return localconnect(L, true); }

/*
 * moonbridge_io.localconnect_nb(path)
 * As localconnect, but does not wait: fails with EAGAIN (11) when the queue of the listener is full.
 */
int mb_io_localconnect_nb(lua_State *L) { return localconnect(L, false); }
