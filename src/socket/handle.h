/*
 * The socket object: a userdata that owns a connection, or a file. Born closed; whoever makes it
 * attaches to it.
 */
#ifndef MB_HANDLE_H
#define MB_HANDLE_H

#include <lua.h>
#include <stdbool.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/connect.h"
#include "base/fdio.h"
#include "base/addr.h"
#include "base/wqueue.h"

#define MB_HANDLE_TYPE "socket"

/* States only move forward. */
enum mb_handle_state {
  MB_HANDLE_UNUSED,   /* nothing attached yet */
  MB_HANDLE_OPEN,     /* both directions */
  MB_HANDLE_FINISHED, /* output was ended by finish() */
  MB_HANDLE_CLOSED,   /* by close() */
  MB_HANDLE_RESET,    /* by reset() */
};

/* Bytes that have passed, as far as the system has taken them. */
struct mb_traffic {
  uint64_t in, out;
};

struct mb_handle {
  enum mb_handle_state state;
  enum mb_fd_kind kind;
  int in_fd, out_fd; /* the same for a socket; -1 when there is no such direction any more */
  int record_fd;     /* what is read is copied to it; -1: not */
  bool guarded;      /* the connection that timeout() resets */
  bool nodelay;      /* TCP_NODELAY is set */
  bool in_eof;       /* the end of input was seen */
  bool in_streams;   /* the last receive filled what it was given: more is likely there */
  bool in_short;     /* what is in the buffer was not enough for a read_call */
  bool outgoing;     /* we have connected to the peer */
  int in_error;      /* errno of the first failure of input, and of output; they stay */
  int out_error;
  struct mb_alloc *alloc;
  struct mb_traffic *traffic; /* where to count; NULL: nowhere */
  struct mb_attempt *attempt; /* to connect: while undecided, and after it has failed */
  struct mb_buf in;
  struct mb_wqueue out;
  struct mb_addr local, remote;
};

/* Registers the type. May throw. */
void mb_handle_open(lua_State *L);

/* Pushes a handle with nothing attached. May throw. */
struct mb_handle *mb_handle_new(lua_State *L);

/*
 * Hands descriptors over to the handle, which closes them from now on. Cannot fail.
 * A socket is to be reset when the process dies: mb_fd_set_reset_on_close is the caller's.
 * in_fd, out_fd  the same for a socket; -1 for a direction that does not exist
 */
void mb_handle_attach(struct mb_handle *h, int in_fd, int out_fd, enum mb_fd_kind kind);

/* The handle at an index; throws when it is none. */
struct mb_handle *mb_handle_at(lua_State *L, int index);

/* The handle at an index, or NULL when it is none. */
struct mb_handle *mb_handle_test(lua_State *L, int index);

/* Throws, saying why, when the handle is not open. */
void mb_handle_check_open(lua_State *L, const struct mb_handle *h);

/* Throws, saying why, when nothing can be written to the handle any more. */
void mb_handle_check_output(lua_State *L, const struct mb_handle *h);

bool mb_handle_is_open(const struct mb_handle *h);

/*
 * Whether there is input without asking the system: data, the end, or a failure. Data that was not
 * enough for a read_call (in_short) does not count.
 */
bool mb_handle_has_input(const struct mb_handle *h);

/*
 * Finds out what has become of the attempt to connect, if there is one.
 * wait  until it is decided
 * Returns 0 when connected, -EAGAIN when undecided, or -errno, which is the failure of both
 * directions from then on.
 */
int mb_handle_decide(struct mb_handle *h, bool wait);

/*
 * Closes in a healthy way: sends what is pending, ends the output, closes; when that fails, resets.
 * Returns 0 or -errno. The handle is closed in any case.
 */
int mb_handle_close(struct mb_handle *h);

/*
 * Ends the output of a socket, of a Unix socket too, whose input stays open: finish() without what
 * the reference says of those. For a peer that is to read what was said before the close. Does
 * nothing elsewhere. What is queued is to be sent before.
 * Returns 0 or -errno.
 */
int mb_handle_end_output(struct mb_handle *h);

/*
 * Gives the descriptor away; the handle is closed. A close of it by a process that dies is a healthy
 * one from then on.
 * Returns it; -ENOTSOCK when it is no socket, -EEXIST when input has been received that nobody has
 * read, -EAGAIN when output is queued or the connection not there yet.
 */
int mb_handle_detach(struct mb_handle *h);

/* Aborts the connection. */
void mb_handle_reset(struct mb_handle *h);

#endif
