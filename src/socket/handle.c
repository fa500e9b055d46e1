/*
 * The socket object's life and its method table. Only handle*.c touches the descriptor after the
 * hand-over.
 */
#include "socket/handle.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>
#include <unistd.h>

#include "socket/handle_attr.h"
#include "socket/handle_methods.h"
#include "state/state.h"
#include "socket/timeout.h"

struct mb_handle *mb_handle_new(lua_State *L) {
  struct mb_handle *h = lua_newuserdata(L, sizeof *h);
  memset(h, 0, sizeof *h);
  h->in_fd = h->out_fd = h->record_fd = -1;
  h->in = MB_BUF_INIT;
  h->alloc = mb_state_alloc(L);
  luaL_setmetatable(L, MB_HANDLE_TYPE);
  return h;
}

void mb_handle_attach(struct mb_handle *h, int in_fd, int out_fd, enum mb_fd_kind kind) {
  h->in_fd = in_fd;
  h->out_fd = out_fd;
  h->kind = kind;
  h->in_eof = in_fd < 0;
  h->state = out_fd < 0 ? MB_HANDLE_FINISHED : MB_HANDLE_OPEN;
}

/* The metatable: to compare it is cheaper than luaL_checkudata's search by name in every call. */
static const void *metatable;

struct mb_handle *mb_handle_test(lua_State *L, int index) {
  if (!lua_getmetatable(L, index)) return NULL;
  bool ours = lua_topointer(L, -1) == metatable;
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

bool mb_handle_has_input(const struct mb_handle *h) {
  return (mb_buf_len(&h->in) > 0 && !h->in_short) || h->in_eof || h->in_error;
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

void mb_handle_collect(lua_State *L, const struct mb_handle *h) {
  lua_gc(L, LUA_GCCOLLECT, 0);
  mb_handle_check_open(L, h);
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
  int fd = h->in_fd;
  int r = mb_attempt_go_on(h->attempt, &fd, wait, &h->local, &h->remote);
  h->in_fd = h->out_fd = fd;
  if (r == 0) {
    h->out_error = h->attempt->lost;
    mb_attempt_free(h->attempt, h->alloc);
    h->attempt = NULL;
    if (h->nodelay) mb_fd_set_nodelay(h->out_fd); /* it may be another socket by now */
  } else if (r != -EAGAIN) {
    h->in_error = h->out_error = -r;
    mb_wqueue_free(&h->out, h->alloc);
  }
  return r;
}

/* ---- life ---- */

/* Of a replay or a pipe: a file system may say only now that it has no room for what was written. */
static void close_output(struct mb_handle *h) {
  if (h->out_fd >= 0 && close(h->out_fd) != 0 && errno != EINTR && h->out_error == 0) {
    h->out_error = errno;
  }
  h->out_fd = -1;
}

static void close_descriptors(struct mb_handle *h) {
  if (h->guarded) {
    mb_timeout_guard(-1, h->kind);
    h->guarded = false;
  }
  if (h->out_fd != h->in_fd) close_output(h);
  if (h->in_fd >= 0) close(h->in_fd);
  h->in_fd = h->out_fd = -1;
  mb_buf_free(&h->in, h->alloc);
  mb_wqueue_free(&h->out, h->alloc);
}

static void end_record(struct mb_handle *h) {
  if (h->record_fd >= 0) close(h->record_fd);
  h->record_fd = -1;
}

void mb_handle_reset(struct mb_handle *h) {
  if (h->in_fd >= 0) mb_fd_reset(h->in_fd, h->kind);
  close_descriptors(h);
  end_record(h);
  h->state = MB_HANDLE_RESET;
}

int mb_handle_close(struct mb_handle *h) {
  int r = -h->out_error;
  if (h->out.len == 0 && mb_handle_decide(h, false) == -EAGAIN) {
    mb_handle_reset(h); /* nothing to say, nobody to say it to: not waited for */
  } else if (r == 0 && h->out_fd >= 0) {
    bool finished = h->state == MB_HANDLE_FINISHED;
    if (!finished) r = mb_handle_send_queue(h, true);
    if (r == 0) r = mb_fd_end(h->out_fd, h->kind, finished);
  }
  if (r < 0) {
    mb_handle_reset(h);
  } else {
    close_descriptors(h);
    end_record(h);
    r = -h->out_error; /* of closing */
  }
  h->state = MB_HANDLE_CLOSED;
  return r;
}

int mb_handle_detach(struct mb_handle *h) {
  if (h->kind == MB_FD_FILE || h->kind == MB_FD_PIPE) return -ENOTSOCK;
  if (mb_buf_len(&h->in) > 0) return -EEXIST;
  if (h->out.len > 0 || h->attempt) return -EAGAIN;
  int fd = h->in_fd;
  mb_fd_set_reset_on_close(fd, h->kind, false);
  h->in_fd = h->out_fd = -1;
  close_descriptors(h);
  end_record(h);
  h->state = MB_HANDLE_CLOSED;
  return fd;
}

/*
 * socket:close()
 * Sends what is pending and FIN, and closes. Returns true, or nil, message, errno. Throws when the
 * socket is closed.
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

int mb_handle_end_output(struct mb_handle *h) {
  if (h->state != MB_HANDLE_OPEN || h->out_fd != h->in_fd) return 0;
  int r = mb_fd_end_output(h->out_fd, h->kind);
  if (r < 0) {
    h->out_error = -r;
    return r;
  }
  h->state = MB_HANDLE_FINISHED;
  return 0;
}

/*
 * A Unix socket is ended in both directions (reference, socket:finish()); the end of input is what
 * is left of it.
 */
static int finish(struct mb_handle *h) {
  int r = mb_handle_send_queue(h, true);
  if (r < 0) return r;
  bool local = h->kind == MB_FD_LOCAL;
  r = local ? mb_fd_end(h->out_fd, h->kind, false) : mb_fd_end_output(h->out_fd, h->kind);
  if (r < 0) {
    h->out_error = -r;
    return r;
  }
  if (local) {
    close_descriptors(h);
    h->in_eof = true;
  } else if (h->out_fd != h->in_fd) {
    close_output(h); /* of a replay, or a child's input: the reader is waiting for the end */
    if (h->out_error) return -h->out_error;
  }
  h->state = MB_HANDLE_FINISHED;
  return 0;
}

/*
 * socket:finish()
 * Sends what is pending and FIN; reading goes on, but for a Unix socket, where it is at its end.
 * Returns true, or nil, message, errno. Throws when the socket is closed or finished.
 */
static int method_finish(lua_State *L) {
  struct mb_handle *h = mb_handle_for_output(L);
  int r = finish(h);
  if (r < 0) return mb_handle_push_error(L, h, r);
  lua_pushboolean(L, 1);
  return 1;
}

/* Also frees what a write may have queued while a finalizer closed the socket. */
static int handle_gc(lua_State *L) {
  struct mb_handle *h = mb_handle_at(L, 1);
  if (mb_handle_is_open(h)) {
    mb_handle_reset(h);
  } else {
    close_descriptors(h);
  }
  mb_attempt_free(h->attempt, h->alloc);
  h->attempt = NULL;
  return 0;
}

/* ---- the type ---- */

/* A new method is a function, a row here, a test, and an entry in mb-handle-socket(3). */
static const luaL_Reg methods[] = {
    {"close", method_close},
    {"drain", mb_handle_method_drain},
    {"drain_call", mb_handle_method_drain_call},
    {"drain_nb", mb_handle_method_drain_nb},
    {"drain_yield", mb_handle_method_drain_yield},
    {"finish", method_finish},
    {"flush", mb_handle_method_flush},
    {"flush_call", mb_handle_method_flush_call},
    {"flush_nb", mb_handle_method_flush_nb},
    {"flush_yield", mb_handle_method_flush_yield},
    {"read", mb_handle_method_read},
    {"read_call", mb_handle_method_read_call},
    {"read_nb", mb_handle_method_read_nb},
    {"read_yield", mb_handle_method_read_yield},
    {"reset", method_reset},
    {"write", mb_handle_method_write},
    {"write_call", mb_handle_method_write_call},
    {"write_nb", mb_handle_method_write_nb},
    {"write_yield", mb_handle_method_write_yield},
    {NULL, NULL},
};

static const struct mb_object_type type = {
    MB_HANDLE_TYPE, MB_HANDLE_TYPE, handle_gc, mb_handle_tostring, methods, mb_handle_attributes,
};

void mb_handle_open(lua_State *L) {
  mb_object_push_type(L, &type);
  metatable = lua_topointer(L, -1);
  lua_pop(L, 1);
}
