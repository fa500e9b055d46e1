/*
 * The socket object's life and its method table. Only handle*.c touches the descriptor after the
 * hand-over.
 */
#include "socket/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "socket/handle_attr.h"
#include "socket/handle_methods.h"
#include "socket/timeout.h"
#include "state/state.h"

struct mb_handle *mb_handle_new(lua_State *L) {
  struct mb_handle *h = lua_newuserdata(L, sizeof *h);
  memset(h, 0, sizeof *h);
  h->io = MB_CHANNEL_CLOSED;
  h->record_fd = -1;
  h->in = MB_BUF_INIT;
  h->alloc = mb_state_alloc(L);
  luaL_setmetatable(L, MB_HANDLE_TYPE);
  return h;
}

void mb_handle_attach(struct mb_handle *h, struct mb_channel channel) {
  h->io = channel;
  mb_alloc_note(h->alloc, &h->holds, true);
  h->in_eof = channel.in_fd < 0;
  h->state = channel.out_fd < 0 ? MB_HANDLE_FINISHED : MB_HANDLE_OPEN;
}

void mb_handle_guard(struct mb_handle *h) {
  h->guarded = true;
  mb_timeout_guard(&h->io);
}

struct mb_handle *mb_handle_test(lua_State *L, int index) {
  if (!lua_getmetatable(L, index)) return NULL;
  /* Comparing the metatable is cheaper than luaL_checkudata, which looks it up by name in every call. */
  bool ours = lua_topointer(L, -1) == mb_state_of(L)->types[MB_TYPE_HANDLE];
  lua_pop(L, 1);
  return ours ? lua_touserdata(L, index) : NULL;
}

struct mb_handle *mb_handle_at(lua_State *L, int index) {
  struct mb_handle *h = mb_handle_test(L, index);
  return h ? h : luaL_checkudata(L, index, MB_HANDLE_TYPE); /* throws */
}

bool mb_handle_is_open(const struct mb_handle *h) {
  return h->state == MB_HANDLE_OPEN || h->state == MB_HANDLE_FINISHED;
}

void mb_handle_check_open(lua_State *L, const struct mb_handle *h) {
  if (mb_handle_is_open(h)) return;
  const char *how = h->state == MB_HANDLE_RESET    ? "the socket has been reset"
                    : h->state == MB_HANDLE_CLOSED ? "the socket is closed"
                                                   : "the socket is not connected";
  luaL_error(L, "%s", how);
}

static struct mb_handle *check_open(lua_State *L) {
  struct mb_handle *h = mb_handle_at(L, 1);
  mb_handle_check_open(L, h);
  return h;
}

struct mb_handle *mb_handle_for_input(lua_State *L) {
  struct mb_handle *h = check_open(L);
  h->in_short = false;
  return h;
}

void mb_handle_check_output(lua_State *L, const struct mb_handle *h) {
  mb_handle_check_open(L, h);
  if (h->state == MB_HANDLE_FINISHED)
    luaL_error(L, "the socket's output is finished: nothing can be sent any more");
}

struct mb_handle *mb_handle_for_output(lua_State *L) {
  struct mb_handle *h = mb_handle_at(L, 1);
  mb_handle_check_output(L, h);
  return h;
}

int mb_handle_push_error(lua_State *L, const struct mb_handle *h, int r) {
  lua_pushnil(L);
  if (h->attempt) {
    char whereto[MB_ATTEMPT_TEXT_MAX];
    mb_attempt_describe(h->attempt, whereto);
    lua_pushfstring(L, "%s: %s", whereto, strerror(-r));
  } else {
    lua_pushstring(L, strerror(-r));
  }
  lua_pushinteger(L, -r);
  return 3;
}

/* ---- connecting ---- */

int mb_handle_decide(struct mb_handle *h, bool wait) {
  if (!h->attempt) return 0;
  if (h->out_error) return -h->out_error;
  int fd = h->io.in_fd;
  int r = mb_attempt_go_on(h->attempt, &fd, wait, &h->local, &h->remote);
  h->io.in_fd = h->io.out_fd = fd;
  if (r == 0) {
    h->out_error = h->attempt->lost;
    mb_attempt_free(h->attempt, h->alloc);
    h->attempt = NULL;
    if (h->nodelay) mb_fd_set_nodelay(fd); /* the attempt may have opened another socket */
  } else if (r != -EAGAIN) {
    h->in_error = h->out_error = -r;
    mb_wqueue_free(&h->out, h->alloc);
  }
  return r;
}

/* ---- life ---- */

/*
 * Closes the output of a replay or a pipe, and notes its error: a file system may say only now that it
 * has no room for what was written.
 */
static void close_output(struct mb_handle *h) {
  int fd = h->io.out_fd;
  if (fd >= 0 && close(fd) != 0 && errno != EINTR && h->out_error == 0) h->out_error = errno;
  h->io.out_fd = -1;
}

static void close_descriptors(struct mb_handle *h) {
  if (h->guarded) {
    mb_timeout_guard(NULL);
    h->guarded = false;
  }
  if (h->io.out_fd != h->io.in_fd) close_output(h);
  if (h->io.in_fd >= 0) close(h->io.in_fd);
  mb_channel_close_edge(&h->io);
  h->io.in_fd = h->io.out_fd = -1;
  mb_alloc_note(h->alloc, &h->holds, false);
  h->io.transport = &mb_transport_none; /* what kind it was is of interest still */
  mb_buf_free(&h->in, h->alloc);
  mb_wqueue_free(&h->out, h->alloc);
}

static void end_record(struct mb_handle *h) {
  if (h->record_fd >= 0) close(h->record_fd);
  h->record_fd = -1;
}

void mb_handle_reset(struct mb_handle *h) {
  h->io.transport->reset(&h->io);
  close_descriptors(h);
  end_record(h);
  h->state = MB_HANDLE_RESET;
}

int mb_handle_close(struct mb_handle *h) {
  int r = -h->out_error;
  if (h->out.len == 0 && mb_handle_decide(h, false) == -EAGAIN) {
    mb_handle_reset(h); /* nothing is queued, and there is no peer yet: do not wait for one */
  } else if (r == 0 && h->io.out_fd >= 0) {
    bool finished = h->state == MB_HANDLE_FINISHED;
    if (!finished) r = mb_handle_send_queue(h, true);
    if (r == 0) r = h->io.transport->end(&h->io, finished);
  }
  if (r < 0) {
    mb_handle_reset(h);
  } else {
    close_descriptors(h);
    end_record(h);
    r = -h->out_error; /* closing may have failed */
  }
  h->state = MB_HANDLE_CLOSED;
  return r;
}

void mb_handle_keep_no_byte(struct mb_handle *h) {
  mb_channel_drop_held(&h->io);
  mb_channel_close_edge(&h->io);
  h->io.keeps_last = false;
}

int mb_handle_detach(struct mb_handle *h) {
  if (!mb_handle_is_socket(h)) return -ENOTSOCK;
  if (mb_buf_len(&h->in) > 0) return -EEXIST;
  if (h->out.len > 0 || h->attempt) return -EAGAIN;
  mb_handle_keep_no_byte(h);
  int fd = h->io.in_fd;
  h->io.in_fd = h->io.out_fd = -1;
  close_descriptors(h);
  mb_fd_set_reset_on_close(fd, h->io.kind, false); /* last: the alarm resets it until here */
  end_record(h);
  h->state = MB_HANDLE_CLOSED;
  return fd;
}

void mb_handle_replace(struct mb_handle *h, int fd) {
  bool guarded = h->guarded;
  if (guarded) mb_timeout_guard(NULL); /* the alarm must not see half of a channel */
  /* An attempt to connect would go on with the new socket, and might close it. */
  mb_attempt_free(h->attempt, h->alloc);
  h->attempt = NULL;
  h->nodelay = false;
  mb_handle_keep_no_byte(h);
  if (mb_handle_is_open(h) && h->io.in_fd >= 0 && h->io.in_fd != fd)
    mb_fd_set_reset_on_close(h->io.in_fd, h->io.kind, false);
  if (fd >= 0) {
    mb_handle_attach(h, mb_channel_of(fd, fd, mb_fd_kind_of(fd)));
    h->in_error = h->out_error = 0;
    if (guarded) mb_timeout_guard(&h->io);
  } else {
    h->io = MB_CHANNEL_CLOSED;
    mb_alloc_note(h->alloc, &h->holds, false);
    h->state = MB_HANDLE_CLOSED;
  }
  h->local.len = h->remote.len = 0;
}

/*
 * socket:close()
 * Sends the queue and FIN, and closes. Returns true, or nil, message, errno. Throws when the socket is
 * closed.
 */
static int method_close(lua_State *L) {
  struct mb_handle *h = check_open(L);
  int r = mb_handle_close(h);
  if (r < 0) return mb_handle_push_error(L, h, r);
  lua_pushboolean(L, 1);
  return 1;
}

/*
 * socket:reset()
 * Aborts the connection: RST on TCP. Returns true. Throws when the socket is closed.
 */
static int method_reset(lua_State *L) {
  mb_handle_reset(check_open(L));
  lua_pushboolean(L, 1);
  return 1;
}

void mb_handle_close_lingering(struct mb_handle *h, const struct linger *linger) {
  /* The system waits when the last descriptor is closed. That is the copy: the handle need not know. */
  int copy = fcntl(h->io.out_fd, F_DUPFD_CLOEXEC, 0);
  mb_handle_close(h);
  if (copy < 0) return;
  setsockopt(copy, SOL_SOCKET, SO_LINGER, linger, sizeof *linger);
  close(copy);
}

void mb_handle_end(struct mb_handle *h, bool healthy) {
  if (!mb_handle_is_open(h)) return;
  if (!healthy) {
    mb_handle_reset(h);
    return;
  }
  int r = mb_handle_close(h);
  if (r < 0 && !mb_handle_is_replay(h))
    mb_log(LOG_INFO, "the client has gone before everything was sent: %s", strerror(-r));
}

int mb_handle_end_input(struct mb_handle *h) {
  if (!mb_handle_is_socket(h) || shutdown(h->io.in_fd, SHUT_RD) == 0) return 0;
  return -errno;
}

int mb_handle_end_output(struct mb_handle *h) {
  if (h->state != MB_HANDLE_OPEN || h->io.out_fd != h->io.in_fd) return 0;
  int r = h->io.transport->end_output(&h->io);
  if (r < 0) {
    h->out_error = -r;
    return r;
  }
  h->state = MB_HANDLE_FINISHED;
  return 0;
}

/*
 * Ends the output. A Unix socket ends in both directions (reference, socket:finish()): its descriptor is
 * closed, and a read finds the end of input.
 */
static int finish(struct mb_handle *h) {
  int r = mb_handle_send_queue(h, true);
  if (r < 0) return r;
  bool local = h->io.kind == MB_FD_LOCAL;
  const struct mb_transport *transport = h->io.transport;
  r = local ? transport->end(&h->io, false) : transport->end_output(&h->io);
  if (r < 0) {
    h->out_error = -r;
    return r;
  }
  if (local) {
    close_descriptors(h);
    h->in_eof = true;
  } else if (h->io.out_fd != h->io.in_fd) {
    close_output(h); /* a replay, or a child's input: the reader waits for the end */
    if (h->out_error) return -h->out_error;
  }
  h->state = MB_HANDLE_FINISHED;
  return 0;
}

/*
 * socket:finish()
 * Sends the queue and FIN. Reading goes on, except on a Unix socket, where a read finds the end of input.
 * Returns true, or nil, message, errno. Throws when the socket is closed or finished.
 */
static int method_finish(lua_State *L) {
  struct mb_handle *h = mb_handle_for_output(L);
  int r = finish(h);
  if (r < 0) return mb_handle_push_error(L, h, r);
  lua_pushboolean(L, 1);
  return 1;
}

/* Also frees the bytes that a write has queued while a finalizer closed the socket. */
static int handle_gc(lua_State *L) {
  struct mb_handle *h = mb_handle_at(L, 1);
  if (mb_handle_is_open(h)) {
    mb_handle_reset(h);
  } else {
    close_descriptors(h);
    end_record(h);
  }
  mb_attempt_free(h->attempt, h->alloc);
  h->attempt = NULL;
  return 0;
}

/* ---- the type ---- */

/* A new method is a function, a row in its file's table, a test, and an entry in mb-handle-socket(3). */
static const luaL_Reg life_methods[] = {
    {"close", method_close},
    {"finish", method_finish},
    {"reset", method_reset},
    {NULL, NULL},
};

static const luaL_Reg *const methods[] = {
    life_methods,           mb_handle_read_methods, mb_handle_write_methods,
    mb_handle_wait_methods, mb_handle_peer_methods, NULL,
};

static const struct mb_object_type type = {
    MB_HANDLE_TYPE, MB_HANDLE_TYPE, handle_gc, mb_handle_tostring, methods, mb_handle_attributes,
};

void mb_handle_open(lua_State *L) {
  mb_object_push_type(L, &type);
  mb_state_of(L)->types[MB_TYPE_HANDLE] = lua_topointer(L, -1);
  lua_pop(L, 1);
}
