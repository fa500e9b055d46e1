/* Functions that the files of the handle share, and with which the interfaces above it read and write. */
#ifndef MB_HANDLE_METHODS_H
#define MB_HANDLE_METHODS_H

#include <lauxlib.h>

#include "socket/handle.h"

/* ---- the method tables of handle_peer.c, handle_read.c, handle_write.c and handle_wait.c ---- */

extern const luaL_Reg mb_handle_peer_methods[];
extern const luaL_Reg mb_handle_read_methods[];
extern const luaL_Reg mb_handle_write_methods[];
extern const luaL_Reg mb_handle_wait_methods[];

/* socket:write_nb and flush_nb, for a response writer: (socket, …) on the stack */
int mb_handle_method_write_nb(lua_State *L);
int mb_handle_method_flush_nb(lua_State *L);

/* ---- helpers ---- */

/* Counts bytes that were sent, if somebody wants the number. */
static inline void mb_handle_sent(struct mb_handle *h, size_t n) {
  if (h->traffic) h->traffic->out += n;
}

/* Returns the handle at index 1, for reading; throws when it is closed. */
struct mb_handle *mb_handle_for_input(lua_State *L);

/* Returns the handle at index 1, for writing; throws when it is closed or its output is finished. */
struct mb_handle *mb_handle_for_output(lua_State *L);

/* Pushes nil, a message and the number for an error r (-errno) of the handle. Returns 3. */
int mb_handle_push_error(lua_State *L, const struct mb_handle *h, int r);

/* Outcomes of a read. push_status in handle_read.c has their names in the same order. */
enum mb_read_status { MB_READ_TERM, MB_READ_MAXLEN, MB_READ_EOF, MB_READ_BLOCK };

/* The arguments of read and drain: maxlen, terminator. */
struct mb_read_request {
  size_t maxlen;  /* SIZE_MAX: no limit */
  int terminator; /* byte, or -1 */
};

/* Reads the two arguments at index and index + 1; throws when they are wrong. */
struct mb_read_request mb_read_request_at(lua_State *L, int index);

/*
 * Receives once into the buffer.
 * wanted  how many bytes the caller can use
 * wait    true: waits for at least one byte, or the end
 * Returns the number of bytes; 0 at the end; -EAGAIN when there is nothing now; or -errno, which every
 * later call returns too. Throws when memory runs out.
 */
ssize_t mb_handle_receive(lua_State *L, struct mb_handle *h, size_t wanted, bool wait);

/*
 * Receives once into the buffer, as mb_handle_receive does. Where the system can wait in the same call, and nothing is
 * queued, it waits for at most some `usec` microseconds (> 0; calls with the same number are cheaper), or until a
 * signal comes: two calls less than with poll(2).
 * Returns -EAGAIN when nothing has come: the caller has to wait for the rest of its time.
 */
ssize_t mb_handle_receive_within(lua_State *L, struct mb_handle *h, size_t wanted, int64_t usec);

/*
 * Returns whether the buffer holds the first bytes of the stream, and they are those of TLS: a record of a
 * handshake (RFC 8446, section 5.1). No text begins like this.
 */
static inline bool mb_handle_begins_with_tls(const struct mb_handle *h) {
  size_t len = mb_buf_len(&h->in);
  if (h->received != len || len < 2) return false;
  const char *bytes = mb_buf_bytes(&h->in);
  return bytes[0] == 0x16 && bytes[1] == 0x03 && !h->outgoing && h->io.kind != MB_FD_PIPE;
}

/*
 * Makes a client that speaks TLS look like one that has ended its output, and logs why. A read that wants a
 * line calls it before it looks for one: it would wait for ever, and a handler could not tell.
 * Returns whether it has.
 */
bool mb_handle_end_tls(struct mb_handle *h);

/*
 * Waits for more input than the buffer holds. Sends the queue meanwhile, as the peer may wait for it.
 * deadline  monotonic microseconds, or MB_NO_DEADLINE
 * Returns 0, -EAGAIN at the deadline, or -errno.
 */
int mb_handle_wait_for_input(struct mb_handle *h, int64_t deadline);

/* The result of one attempt to read or drain. */
struct mb_read_result {
  size_t len;
  enum mb_read_status status;
};

/*
 * Collects input in the handle's buffer until the request is met; takes nothing out of the buffer.
 * wait  false: ret->status may be MB_READ_BLOCK
 * Returns 0 or -errno. Throws when memory runs out.
 */
int mb_handle_fill(lua_State *L, struct mb_handle *h, const struct mb_read_request *request,
                   bool wait, struct mb_read_result *ret);

/* Pushes the first result->len bytes of the buffer and the status, and takes the bytes out. Returns 2. */
int mb_handle_push_read(lua_State *L, struct mb_handle *h, const struct mb_read_result *result);

/*
 * Discards input until the request is met. Adds the number of bytes to *count, also on failure; the
 * request's maxlen includes the bytes that *count had before.
 * wait  false: *ret_status may be MB_READ_BLOCK
 * Returns 0 or -errno. Throws when memory runs out.
 */
int mb_handle_discard(lua_State *L, struct mb_handle *h, const struct mb_read_request *request,
                      bool wait, size_t *count, enum mb_read_status *ret_status);

/* Pushes a number of bytes and a status. Returns 2. */
int mb_handle_push_count(lua_State *L, size_t count, enum mb_read_status status);

/* Checks that the arguments from index `first` on are strings; throws when one is not. */
void mb_handle_check_strings(lua_State *L, int first);

/* Flags of a write. */
enum mb_write_mode {
  MB_WRITE_BUFFER = 0, /* a small portion may stay in the queue */
  MB_WRITE_FLUSH = 1,  /* sends all that the system takes */
  MB_WRITE_WAIT = 2,   /* waits until the system has taken it */
};

/*
 * Writes the strings from index `first` to the top. Without MB_WRITE_WAIT, queues what the system does
 * not take at once.
 * Returns 0 or -errno. Throws when an argument is not a string, before anything is written, and when
 * memory runs out.
 */
int mb_handle_put(lua_State *L, struct mb_handle *h, int first, int mode);

/*
 * Queues bytes. Collects garbage when there is no memory, and tries once more. Throws when one of the
 * script's finalizers ends the output meanwhile. Returns 0 or -ENOMEM.
 */
int mb_handle_queue(lua_State *L, struct mb_handle *h, const char *bytes, size_t size);

/* Remembers that output has failed with r (-errno), and drops the queue: it can never be sent. Returns r. */
int mb_handle_output_failed(struct mb_handle *h, int r);

/* Sends the queue. wait false: only what the system takes at once. Returns 0 or -errno. */
int mb_handle_send_queue(struct mb_handle *h, bool wait);

/*
 * Sends bytes at once; the caller has sent the queue. Counts them, and notes a connection that is lost.
 * flags  of send(2); only a plain socket knows them
 * wait   false: -EAGAIN when nothing can be sent now
 * Returns the number of bytes, which may be less than asked, or -errno.
 */
ssize_t mb_handle_send_now(struct mb_handle *h, const void *data, size_t size, int flags,
                           bool wait);

/* What a wait for the peer's end has met. */
enum { MB_PEER_ENDED = 1, MB_OTHER_READY = 2 };

/*
 * Waits once until the peer has ended its output or the connection, or another descriptor is readable; other: -1 for
 * none. Takes no input. Returns MB_PEER_ENDED or MB_OTHER_READY; 0 at the deadline, or earlier; or -errno, such as
 * -EINTR.
 */
int mb_handle_await_end(struct mb_handle *h, int other, int64_t deadline);

/* Returns how many written bytes the system still holds for the peer, or -errno where nobody can say. */
static inline int mb_handle_unsent(const struct mb_handle *h) {
  return h->io.transport->unsent(&h->io);
}

/* Fewer bytes than this may stay in the queue after a write (not after a flush). */
#define MB_WRITE_SMALL_BYTES 4096

#endif
