/*
 * What the files of the handle share: the methods, one row each in handle.c's table, and their
 * helpers.
 */
#ifndef MB_HANDLE_METHODS_H
#define MB_HANDLE_METHODS_H

#include "socket/handle.h"

/* ---- the method table's functions; (socket, …) on the stack ---- */

int mb_handle_method_read(lua_State *L);
int mb_handle_method_read_nb(lua_State *L);
int mb_handle_method_read_call(lua_State *L);
int mb_handle_method_read_yield(lua_State *L);
int mb_handle_method_drain(lua_State *L);
int mb_handle_method_drain_nb(lua_State *L);
int mb_handle_method_drain_call(lua_State *L);
int mb_handle_method_drain_yield(lua_State *L);
int mb_handle_method_write(lua_State *L);
int mb_handle_method_write_nb(lua_State *L);
int mb_handle_method_write_call(lua_State *L);
int mb_handle_method_write_yield(lua_State *L);
int mb_handle_method_flush(lua_State *L);
int mb_handle_method_flush_nb(lua_State *L);
int mb_handle_method_flush_call(lua_State *L);
int mb_handle_method_flush_yield(lua_State *L);

/* ---- helpers ---- */

/* Counts what was sent, where that is wanted. */
static inline void mb_handle_sent(struct mb_handle *h, size_t n) {
  if (h->traffic) h->traffic->out += n;
}

/* The handle at index 1, for reading: throws when it is closed. */
struct mb_handle *mb_handle_for_input(lua_State *L);

/* The handle at index 1, for writing: throws when it is closed or its output is finished. */
struct mb_handle *mb_handle_for_output(lua_State *L);

/*
 * An allocation for the handle has failed: collects garbage, so that it can be tried once more.
 * Throws when one of the script's finalizers closes the handle.
 */
void mb_handle_collect(lua_State *L, const struct mb_handle *h);

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

/* Remembers a failure -r of output: what is queued can never be sent. Returns r. */
int mb_handle_output_failed(struct mb_handle *h, int r);

/* Sends what is queued. wait false: as far as it goes. Returns 0 or -errno. */
int mb_handle_send_queue(struct mb_handle *h, bool wait);

/* What may stay in the queue when a write (not a flush) is done. */
#define MB_WRITE_SMALL_BYTES 4096

#endif
