/*
 * LuaSocket's TCP objects: a master becomes a client or a server. What their methods, one row each in
 * luasocket_object.c's table, share.
 */
#ifndef MB_LUASOCKET_OBJECT_H
#define MB_LUASOCKET_OBJECT_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "socket/handle.h"

enum mb_luasocket_class { MB_LUASOCKET_MASTER, MB_LUASOCKET_CLIENT, MB_LUASOCKET_SERVER };

struct mb_luasocket {
  enum mb_luasocket_class class;
  struct mb_handle *h;  /* a client's connection; kept alive by the user value */
  int fd;               /* a master's or server's socket; -1: none */
  int family;           /* AF_INET, AF_INET6, or AF_UNSPEC while it is open which */
  bool owns;            /* closes the connection when it is collected */
  bool stands_in;       /* no socket: for the connection that came in (standin.h) */
  bool ended;           /* shutdown("send") where the system knows no such thing */
  double block, total;  /* timeouts in seconds; negative: none */
  struct linger linger; /* as the script has set it; the connection's own is of the handle */
  uint64_t received, sent;
  int64_t born;          /* monotonic microseconds */
  struct mb_addr wanted; /* where it was bound to, when it stands in */
};

/* Pushes a closed object over a handle, which is at index `handle`. May throw. */
struct mb_luasocket *mb_luasocket_new(lua_State *L, enum mb_luasocket_class class, int handle);

/* Turns the object at an index into one of another class. */
void mb_luasocket_become(lua_State *L, int index, enum mb_luasocket_class class);

/* The object at index, or NULL when it is none. */
struct mb_luasocket *mb_luasocket_test(lua_State *L, int index);

/* The object at index 1, of whatever class; throws when it is none. */
struct mb_luasocket *mb_luasocket_any(lua_State *L);

/* The object at index 1, of that class; throws when it is none. */
struct mb_luasocket *mb_luasocket_check(lua_State *L, enum mb_luasocket_class class);

/* The descriptor to read from or accept on, -1 when it is closed or has none. */
int mb_luasocket_fd(const struct mb_luasocket *s);

/* Closes it in a healthy way, after what the script has set for 'linger'. */
void mb_luasocket_close(struct mb_luasocket *s);

/* ---- timeouts ---- */

/* When a call begins: monotonic microseconds; 0 where no timeout is set. */
int64_t mb_luasocket_start(const struct mb_luasocket *s);

/* Whether a call waits as long as it takes. */
static inline bool mb_luasocket_waits(const struct mb_luasocket *s) {
  return !(s->block >= 0) && !(s->total >= 0);
}

/* The deadline of a wait in a call that began at `start`. */
int64_t mb_luasocket_deadline(const struct mb_luasocket *s, int64_t start);

/*
 * Waits for an event on a descriptor that is no connection's, until the deadline. Returns 0, -EAGAIN at
 * the deadline, or -errno.
 */
int mb_luasocket_wait(const struct mb_luasocket *s, int fd, short events, int64_t start);

/* Waits until the system takes more of the connection's output. Returns the same. */
int mb_luasocket_wait_for_output(const struct mb_luasocket *s, int64_t start);

/* ---- errors, in LuaSocket's words ---- */

/* For -errno of a call on a socket. */
const char *mb_luasocket_strerror(int r);

/* For -errno of sending or receiving: -EAGAIN is a timeout; however it was lost, it is closed. */
const char *mb_luasocket_io_error(int r);

/* For getaddrinfo's number; errno counts. */
const char *mb_luasocket_gai_error(int code);

/* Pushes nil and a message. Returns 2. */
int mb_luasocket_fail(lua_State *L, const char *message);

/* Pushes 1, which says that it went well. Returns 1. */
int mb_luasocket_done(lua_State *L);

#endif
