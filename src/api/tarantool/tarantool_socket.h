/*
 * The descriptor below a socket object of mb.tarantool: one of its own, or the connection, which is read and
 * written through its handle. The calls never wait: the Lua modules wait, and call again.
 */
#ifndef MB_TARANTOOL_SOCKET_H
#define MB_TARANTOOL_SOCKET_H

#include <lua.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "base/buf.h"
#include "socket/handle.h"

struct mb_tarantool_socket {
  int fd;                   /* its own, O_NONBLOCK; -1: none */
  struct mb_handle *handle; /* the connection, kept by the user value; NULL: none */
  bool closed;
  bool holds;       /* a descriptor of its own: see mb_alloc_note */
  bool owner;       /* the handle is closed with the object, also by the garbage collector */
  bool pretended;   /* a listener with --style, see standin.h: bound is its address */
  bool input_shut;  /* shutdown() of a replay's input; the system does not know of it */
  bool output_shut; /* shutdown() of the handle's output */
  int domain, type, protocol;
  struct linger linger; /* the script's, for the handle: see mb_fd_set_reset_on_close */
  struct mb_buf rbuf;   /* bytes that read and readline have received and not returned */
  struct mb_alloc *alloc;
  struct mb_addr bound;
};

/* Registers the type, with the methods of all files. May throw. */
void mb_tarantool_socket_open(lua_State *L);

/* core.socket(domain, type, protocol): names or numbers. Returns an object; or nil, errno. */
int mb_tarantool_socket_new(lua_State *L);

/*
 * core.wrap(socket, owner): returns an object for a native socket. Throws when the socket is closed, or when
 * there is another value.
 */
int mb_tarantool_socket_wrap(lua_State *L);

/* Returns the object at index 1; throws when it is closed, or when there is another value. */
struct mb_tarantool_socket *mb_tarantool_check_socket(lua_State *L);

/* Returns the descriptor for socket options and addresses; -1 in a replay. */
int mb_tarantool_descriptor(const struct mb_tarantool_socket *s);

/* Pushes an object with neither a descriptor nor a handle. */
struct mb_tarantool_socket *mb_tarantool_push_new(lua_State *L);

/* Gives a descriptor to the object, which closes it. */
void mb_tarantool_set_descriptor(struct mb_tarantool_socket *s, int fd);

/* Gives the handle at an index to the object, which is on top of the stack. */
void mb_tarantool_set_handle(lua_State *L, struct mb_tarantool_socket *s, int index, bool owner);

/* ---- methods of tarantool_listen.c ---- */

int mb_tarantool_method_accept(lua_State *L);
int mb_tarantool_method_bind(lua_State *L);
int mb_tarantool_method_connect(lua_State *L);
int mb_tarantool_method_connected(lua_State *L);
int mb_tarantool_method_listen(lua_State *L);

/* ---- methods of tarantool_transfer.c ---- */

int mb_tarantool_method_read(lua_State *L);
int mb_tarantool_method_write(lua_State *L);
int mb_tarantool_method_recv(lua_State *L);
int mb_tarantool_method_recvfrom(lua_State *L);
int mb_tarantool_method_send(lua_State *L);
int mb_tarantool_method_sendto(lua_State *L);
int mb_tarantool_method_fill(lua_State *L);
int mb_tarantool_method_find(lua_State *L);
int mb_tarantool_method_take(lua_State *L);
int mb_tarantool_method_buffered(lua_State *L);

#endif
