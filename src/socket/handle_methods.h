/* What the files of the handle share, and what the interfaces above it read and write with. */
#ifndef MB_HANDLE_METHODS_H
#define MB_HANDLE_METHODS_H

#include <lauxlib.h>

#include "socket/handle.h"

/* ---- the method tables of handle_read.c, handle_write.c and handle_wait.c ---- */

extern const luaL_Reg mb_handle_read_methods[];
extern const luaL_Reg mb_handle_write_methods[];
extern const luaL_Reg mb_handle_wait_methods[];

/* socket:write_nb and flush_nb, for a response writer: (socket, …) on the stack */
int mb_handle_method_write_nb(lua_State *L);
int mb_handle_method_flush_nb(lua_State *L);

/* ---- helpers ---- */

/* Counts what was sent, where that is wanted. */
static inline void mb_handle_sent(struct mb_handle *h, size_t n) {
  if (h->traffic) h->traffic->out += n;
}

/* The handle at index 1, for reading: throws when it is closed. */
struct mb_handle *mb_handle_for_input(lua_State *L);

/* The handle at index 1, for writing: throws when it is closed or its output is finished. */
struct mb_handle *mb_handle_for_output(lua_State *L);

/* Pushes nil, a message and the number for an error -r of the handle. Returns 3. */
int mb_handle_push_error(lua_State *L, const struct mb_handle *h, int r);

/* Outcomes of a read; the order is that of the status strings, the read functions' upvalues. */
enum mb_read_status { MB_READ_TERM, MB_READ_MAXLEN, MB_READ_EOF, MB_READ_BLOCK };

/* What read and drain are asked for: (…, maxlen, terminator) from index on. */
struct mb_read_request {
  size_t maxlen;  /* SIZE_MAX: no limit */
  int terminator; /* byte, or -1 */
};

/* Reads the two arguments; throws when they are wrong. */
struct mb_read_request mb_read_request_at(lua_State *L, int index);

/*
 * Receives once into the buffer.
 * wanted  how many bytes the caller can use
 * wait    for at least one byte, or the end
 * Returns the number of bytes, 0 at the end, -EAGAIN, or -errno, which stays. Throws when memory runs
 * out.
 */
ssize_t mb_handle_receive(lua_State *L, struct mb_handle *h, size_t wanted, bool wait);

/*
 * Waits for more input than the buffer holds, and sends meanwhile what is queued: the peer may wait for
 * it.
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
 * Collects input in the handle's buffer until the request is met; nothing is taken from it.
 * wait  false: ret->status may be MB_READ_BLOCK
 * Returns 0 or -errno. Throws when memory runs out.
 */
int mb_handle_fill(lua_State *L, struct mb_handle *h, const struct mb_read_request *request,
                   bool wait, struct mb_read_result *ret);

/* Pushes the len bytes in front of the buffer and the status, and takes them. Returns 2. */
int mb_handle_push_read(lua_State *L, struct mb_handle *h, const struct mb_read_result *result);

/*
 * Discards input. *count grows by what was discarded, also on failure.
 * Returns 0 or -errno. Throws when memory runs out.
 */
int mb_handle_discard(lua_State *L, struct mb_handle *h, const struct mb_read_request *request,
                      bool wait, size_t *count, enum mb_read_status *ret_status);

/* Pushes a number of bytes and a status. Returns 2. */
int mb_handle_push_count(lua_State *L, size_t count, enum mb_read_status status);

/* Checks that the arguments from index `first` on are strings; throws when one is not. */
void mb_handle_check_strings(lua_State *L, int first);

/* How a write goes. */
enum mb_write_mode {
  MB_WRITE_BUFFER = 0, /* what is little may stay in the queue */
  MB_WRITE_FLUSH = 1,  /* nothing may stay that the system would take */
  MB_WRITE_WAIT = 2,   /* wait until it is taken */
};

/*
 * Writes the strings from index `first` to the top. What the system does not take without waiting
 * is queued.
 * Returns 0 or -errno. Throws when an argument is no string, before anything is written, or when
 * memory runs out.
 */
int mb_handle_put(lua_State *L, struct mb_handle *h, int first, int mode);

/*
 * Queues bytes, collecting garbage when there is no memory. Throws when one of the script's finalizers ends
 * the output meanwhile. Returns 0 or -ENOMEM.
 */
int mb_handle_queue(lua_State *L, struct mb_handle *h, const char *bytes, size_t size);

/* Remembers a failure -r of output: what is queued can never be sent. Returns r. */
int mb_handle_output_failed(struct mb_handle *h, int r);

/* Sends what is queued. wait false: as far as it goes. Returns 0 or -errno. */
int mb_handle_send_queue(struct mb_handle *h, bool wait);

/*
 * Sends bytes at once; the caller has sent the queue. Counts them, and notes a connection that is lost.
 * flags  of send(2); no transport but a plain socket knows them
 * wait   false: -EAGAIN when nothing can be sent now
 * Returns the number of bytes, which may be less than asked, or -errno.
 */
ssize_t mb_handle_send_now(struct mb_handle *h, const void *data, size_t size, int flags,
                           bool wait);

/* Returns how many written bytes the system still holds for the peer, or -errno where nobody can say. */
static inline int mb_handle_unsent(const struct mb_handle *h) {
  return h->io.transport->unsent(&h->io);
}

/* What may stay in the queue when a write (not a flush) is done. */
#define MB_WRITE_SMALL_BYTES 4096

#endif
