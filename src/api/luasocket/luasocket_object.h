/*
 * LuaSocket's TCP objects, and the functions that their methods share. A master becomes a client or a server.
 * The methods stand in luasocket_object.c's table.
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
  int family;           /* AF_INET, AF_INET6, or AF_UNSPEC while it is undecided */
  bool holds;           /* a socket, or may get one: see mb_alloc_note */
  bool owns;            /* closes the connection when it is collected */
  bool stands_in;       /* has no socket, but the connection that came in (standin.h) */
  bool elsewhere;       /* its socket does not listen: nobody can come to its address (standin.h) */
  bool ended;           /* shutdown("send") was called; the system may not know of it */
  double block, total;  /* timeouts in seconds; negative: none */
  struct linger linger; /* the script's; the handle sets another one on the connection */
  uint64_t received, sent;
  int64_t born;          /* monotonic microseconds */
  struct mb_addr wanted; /* the address of the script's bind, if stands_in or elsewhere */
};

/* Pushes a closed object above the handle at index `handle`. May throw. */
struct mb_luasocket *mb_luasocket_new(lua_State *L, enum mb_luasocket_class class, int handle);

/* Turns the object at an index into one of another class. */
void mb_luasocket_become(lua_State *L, int index, enum mb_luasocket_class class);

/* Returns the object at an index, or NULL when there is another value. */
struct mb_luasocket *mb_luasocket_test(lua_State *L, int index);

/* Returns the object of any class at index 1; throws when there is another value. */
struct mb_luasocket *mb_luasocket_any(lua_State *L);

/* Returns the object of a class at index 1; throws when there is another value. */
struct mb_luasocket *mb_luasocket_check(lua_State *L, enum mb_luasocket_class class);

/* Returns the descriptor to read from or accept on; -1 when the object is closed or has none. */
int mb_luasocket_fd(const struct mb_luasocket *s);

/* Closes the object in a healthy way, or as the script's linger option says. */
void mb_luasocket_close(struct mb_luasocket *s);

/* ---- timeouts ---- */

/* Returns the time at which a call begins, in monotonic microseconds; 0 when no timeout is set. */
int64_t mb_luasocket_start(const struct mb_luasocket *s);

/* Returns whether no timeout is set, so that a call waits for ever. */
static inline bool mb_luasocket_waits(const struct mb_luasocket *s) {
  return !(s->block >= 0) && !(s->total >= 0);
}

/* Returns the deadline of a wait in a call that has begun at `start`. */
int64_t mb_luasocket_deadline(const struct mb_luasocket *s, int64_t start);

/*
 * Waits for an event on a descriptor that belongs to no connection.
 * Returns 0, -EAGAIN at the deadline, or -errno.
 */
int mb_luasocket_wait(const struct mb_luasocket *s, int fd, short events, int64_t start);

/*
 * Waits until the system takes more of the connection's output.
 * Returns 0, -EAGAIN at the deadline, or -errno.
 */
int mb_luasocket_wait_for_output(const struct mb_luasocket *s, int64_t start);

/* ---- errors, in LuaSocket's words ---- */

/* Returns the message for -errno of a call on a socket. */
const char *mb_luasocket_strerror(int r);

/*
 * Returns the message for -errno of sending or receiving: "timeout" for -EAGAIN; "closed" for 0, and for each
 * error that means that the connection is lost.
 */
const char *mb_luasocket_io_error(int r);

/* Returns the message for getaddrinfo's number; uses errno for EAI_SYSTEM. */
const char *mb_luasocket_gai_error(int code);

/* Pushes nil and a message. Returns 2. */
int mb_luasocket_fail(lua_State *L, const char *message);

/* Pushes 1, LuaSocket's sign of success. Returns 1. */
int mb_luasocket_done(lua_State *L);

#endif
