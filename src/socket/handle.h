/*
 * The socket object: a userdata that owns a connection, the files of a replay, or a child's pipe. It is
 * born closed; whoever makes it attaches descriptors to it.
 */
#ifndef MB_HANDLE_H
#define MB_HANDLE_H

#include <lua.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "base/connect.h"
#include "base/wqueue.h"
#include "socket/channel.h"

#define MB_HANDLE_TYPE "socket"

/* States only move forward. */
enum mb_handle_state {
  MB_HANDLE_UNUSED,   /* nothing attached yet */
  MB_HANDLE_OPEN,     /* both directions */
  MB_HANDLE_FINISHED, /* output was ended by finish() */
  MB_HANDLE_CLOSED,   /* by close() */
  MB_HANDLE_RESET,    /* by reset() */
};

/* Bytes that came in, and bytes that the system has taken to send. */
struct mb_traffic {
  uint64_t in, out;
};

struct mb_handle {
  enum mb_handle_state state;
  struct mb_channel io; /* only handle*.c touches it; others call the functions below */
  int record_fd;        /* gets a copy of the input; -1: there is no recording */
  bool guarded;         /* timeout() resets this connection */
  bool holds;           /* descriptors: see mb_alloc_note */
  bool nodelay;         /* TCP_NODELAY is set */
  bool in_eof;          /* the end of input was seen */
  bool in_streams;      /* the last receive filled its room: more is likely there */
  bool in_short;        /* a read_call found too little in the buffer; see mb_handle_interest */
  bool polled_short;    /* what in_short was when a poll set last got the handle */
  bool outgoing;        /* we have connected to the peer */
  bool proxied;         /* a proxy that is trusted has put a PROXY header in front */
  uint64_t received;    /* bytes of the peer's stream so far; a proxy's header does not count */
  int in_error;         /* errno of the first failure of input; it stays */
  int out_error;        /* the same for output */
  struct mb_alloc *alloc;
  struct mb_traffic *traffic; /* counters; NULL: nobody counts */
  struct mb_attempt *attempt; /* to connect; NULL once connected, or when there was none */
  struct mb_buf in;
  struct mb_wqueue out;
  struct mb_addr local, remote;
};

/* Registers the type. May throw. */
void mb_handle_open(lua_State *L);

/* Pushes a handle with nothing attached. May throw. */
struct mb_handle *mb_handle_new(lua_State *L);

/*
 * Hands a channel over to the handle, which closes it from now on. Cannot fail. The caller has called
 * mb_fd_set_reset_on_close for a socket that a dying process has to reset.
 */
void mb_handle_attach(struct mb_handle *h, struct mb_channel channel);

/* Makes the handle the connection that timeout() resets. */
void mb_handle_guard(struct mb_handle *h);

/* Returns the handle at an index; throws when there is another value. */
struct mb_handle *mb_handle_at(lua_State *L, int index);

/* Returns the handle at an index, or NULL when there is another value. */
struct mb_handle *mb_handle_test(lua_State *L, int index);

/* Throws, saying why, when the handle is not open. */
void mb_handle_check_open(lua_State *L, const struct mb_handle *h);

/* Throws, saying why, when nothing can be written to the handle any more. */
void mb_handle_check_output(lua_State *L, const struct mb_handle *h);

bool mb_handle_is_open(const struct mb_handle *h);

/* Returns whether the handle belongs to a replay: to files that somebody else has opened. */
static inline bool mb_handle_is_replay(const struct mb_handle *h) {
  return h->io.kind == MB_FD_FILE;
}

/* Returns whether the handle is a socket, and not a replay or a pipe. */
static inline bool mb_handle_is_socket(const struct mb_handle *h) {
  return mb_channel_is_socket(&h->io);
}

/* Returns whether the handle is a TCP connection. */
static inline bool mb_handle_is_tcp(const struct mb_handle *h) { return h->io.kind == MB_FD_TCP; }

/*
 * Returns the number of the descriptor, or -1. Callers need it for scripts, options and addresses; bytes
 * pass only through the handle.
 */
static inline int mb_handle_fd(const struct mb_handle *h) {
  return h->io.in_fd >= 0 ? h->io.in_fd : h->io.out_fd;
}

/* Returns whether a number is one of the handle's descriptors: a replay has two. */
static inline bool mb_handle_has_fd(const struct mb_handle *h, lua_Integer fd) {
  return h->io.in_fd == fd || h->io.out_fd == fd;
}

/*
 * Finds out what has become of the attempt to connect, if there is one.
 * wait  true: waits until it is decided
 * Returns 0 when connected, -EAGAIN when undecided, or -errno; from then on both directions fail with
 * that.
 */
int mb_handle_decide(struct mb_handle *h, bool wait);

/* Sends small writes at once instead of waiting for an acknowledgement. Does nothing except on TCP. */
void mb_handle_set_nodelay(struct mb_handle *h);

/* ---- a reset on a Unix socket: see keeps_last of struct mb_channel ---- */

/*
 * Ends the keeping of the last byte: the peer can tell an end from a reset by itself, or another library may
 * read from the descriptor.
 */
void mb_handle_keep_no_byte(struct mb_handle *h);

/*
 * Names a function to call when a connection that is recorded has got its first input, before the script has any of it;
 * len: its bytes, which are in the recording and not yet in the buffer. NULL: none.
 */
void mb_handle_at_first_input(void (*f)(struct mb_handle *h, size_t len));

/* ---- readiness ---- */

/* The events that a handle needs before it can read or write. */
struct mb_interest {
  short wanted;         /* POLLIN, POLLOUT, or both */
  short ready;          /* the wanted events that need no wait */
  bool connecting;      /* fds belong to the attempt to connect */
  int count;            /* of fds; 0: nothing is left to wait for */
  struct pollfd fds[2]; /* for poll(2); no descriptor is there twice */
};

/*
 * Returns what the handle waits for. No other function decides that. A direction that is closed, has
 * failed or is at its end is ready: an operation on it does not wait.
 * wanted  POLLIN, POLLOUT, or both
 * more    true: the bytes in the buffer do not count, as the caller has too few of them
 */
struct mb_interest mb_handle_interest(struct mb_handle *h, short wanted, bool more);

/*
 * Returns the wanted events that are there. `polled` is interest->fds, or a copy, as poll(2) has filled
 * it. A handle that is connecting takes its next step here.
 */
short mb_handle_ready(struct mb_handle *h, const struct mb_interest *interest,
                      const struct pollfd *polled);

/*
 * Waits until a wanted event is there. wanted and more: see mb_handle_interest.
 * deadline  monotonic microseconds, or MB_NO_DEADLINE
 * Returns the events, 0 at the deadline, or -errno.
 */
int mb_handle_wait(struct mb_handle *h, short wanted, bool more, int64_t deadline);

/* ---- the end ---- */

/*
 * Closes in a healthy way: sends the queue, ends the output, closes. Resets the connection when that
 * fails.
 * Returns 0 or -errno. The handle is closed in any case.
 */
int mb_handle_close(struct mb_handle *h);

/*
 * Closes in a healthy way, and lets the system wait until the peer has everything (SO_LINGER): at most
 * as long as `linger` says.
 */
void mb_handle_close_lingering(struct mb_handle *h, const struct linger *linger);

/*
 * Ends the connection, if it is open: closes it, or resets it when `healthy` is false. Logs a client that
 * has gone at level info: that is no failure of ours.
 */
void mb_handle_end(struct mb_handle *h, bool healthy);

/*
 * Ends the output of a socket. The input stays open even on a Unix socket, where socket:finish() would
 * end it too (reference). Use it when a peer has to read our last words before the close. Does nothing on
 * a replay or a pipe. The caller has sent the queue.
 * Returns 0 or -errno.
 */
int mb_handle_end_output(struct mb_handle *h);

/*
 * Ends the input of a socket (shutdown(2), SHUT_RD): bytes that have come can still be read. Does nothing
 * on a replay or a pipe.
 * Returns 0 or -errno.
 */
int mb_handle_end_input(struct mb_handle *h);

/*
 * Gives the descriptor away; the handle is closed. A process that dies from then on closes it in a
 * healthy way.
 * Returns the descriptor; -ENOTSOCK when it is not a socket; -EEXIST when there is input that nobody has
 * read; -EAGAIN when output is queued or the connection is not there yet.
 */
int mb_handle_detach(struct mb_handle *h);

/*
 * Gives the handle another socket. Does not close the old one: it has another owner, who closes it in a
 * healthy way. The buffers stay.
 * fd  -1: there is no new socket, and the handle is closed
 */
void mb_handle_replace(struct mb_handle *h, int fd);

/* Aborts the connection. */
void mb_handle_reset(struct mb_handle *h);

#endif
