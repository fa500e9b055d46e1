/* Serves connections for a person who writes the script. */
#include "app/dev.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/dev_files.h"
#include "app/dev_watch.h"
#include "app/listen.h"
#include "app/serve.h"
#include "base/fdio.h"
#include "base/kept.h"
#include "base/log.h"
#include "base/rare.h"
#include "base/record.h"
#include "sandbox/sandbox.h"
#include "socket/standin.h"
#include "socket/timeout.h"
#include "state/state.h"

/* The most that a handler may have read before it failed: then the request is there as the client has sent it. */
#define UNREAD_MAX 16384
/* So long a client of HTTP may take to begin its request. */
#define BEGIN_USEC 5000000
/* Seconds until the answer with an error has to be done. */
#define ANSWER_SECONDS 30
/* So often a process leaves one text for another within a wait; each takes memory and stack. */
#define DEPTH_MAX 32

static bool is_on;
static struct {
  char *text; /* NULL: there is none */
  size_t len;
} last_error; /* what the client is shown */
static struct {
  char bytes[UNREAD_MAX];
  size_t len;
} unread; /* what a handler has read that has failed */
static struct {
  int fd; /* -1: none */
  struct mb_addr client;
} handed = {.fd = -1}; /* a connection that the handler has given back */
static struct {
  const struct mb_options *options;
  struct mb_connection *connection;
  int depth; /* of texts that were left in the middle of a wait */
} now;

/* ---- the script ---- */

static int prepare(lua_State *L) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "mb.dev");
  lua_call(L, 1, 0);
  return 0;
}

int mb_dev_prepare(lua_State *L, const char *script) {
  mb_dev_files_forget();
  mb_dev_files_note(script);
  lua_pushcfunction(L, prepare);
  return mb_state_call(L, 0, 0);
}

void mb_dev_keep_error(const char *text, size_t len) {
  if (!is_on) return;
  free(last_error.text);
  last_error.len = len;
  last_error.text = malloc(len + 1);
  if (!last_error.text) return;
  memcpy(last_error.text, text, len);
  last_error.text[len] = '\0';
}

/* Logs the places that a text names. */
static int log_excerpts(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "mb.dev.page") != LUA_TTABLE) return 0;
  lua_getfield(L, -1, "excerpts");
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  for (lua_Integer i = 1; lua_rawgeti(L, -1, i) == LUA_TSTRING; i++) {
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    mb_log_text(LOG_ERR, text, len);
    lua_pop(L, 1);
  }
  return 0;
}

void mb_dev_show_error(lua_State *L) {
  size_t len;
  const char *text = lua_tolstring(L, -1, &len);
  if (!is_on) return;
  mb_dev_keep_error(text, len);
  lua_pushcfunction(L, log_excerpts);
  lua_pushvalue(L, -2);
  if (mb_state_call(L, 1, 0) != LUA_OK) lua_pop(L, 1); /* the error itself is in the log */
}

/* ---- a script that does not load when the pool begins ---- */

struct load {
  mb_script_body *body;
  void *context;
  bool done;
};

static enum mb_exit loaded(lua_State *L, const struct mb_script *script, void *context) {
  struct load *load = context;
  load->done = true;
  return load->body(L, script, load->context);
}

/* The listener's handler. It is never called: each connection loads the script anew. */
static int no_handler(lua_State *L) {
  (void)L;
  return 0;
}

static int listen_any(lua_State *L) {
  lua_pushcfunction(L, no_handler);
  mb_listen_any(L);
  return 0;
}

static enum mb_exit not_loaded(lua_State *L, const struct mb_script *script, void *context) {
  struct load *load = context;
  struct mb_script named = *script;
  if (script->options->script) named.path = script->options->script;
  lua_pushcfunction(L, listen_any);
  if (mb_state_call(L, 0, 0) == LUA_OK) return load->body(L, &named, load->context);
  mb_script_log_error(L);
  return MB_EXIT_HANDLER;
}

enum mb_exit mb_dev_run_pool(const struct mb_options *options, const struct mb_addr *local,
                             mb_script_body *body, void *context) {
  struct load load = {.body = body, .context = context};
  enum mb_exit exit = mb_script_run_pool(options, local, loaded, &load);
  if (exit == MB_EXIT_OK || load.done) return exit;
  return mb_script_none(options, not_loaded, &load);
}

/* ---- a connection ---- */

/*
 * Ends the connection for the text that has it, and opens it again, with what is in `unread`. Returns 0, or -errno when
 * the client has gone.
 */
static int open_again(struct mb_connection *connection, int fd, const struct mb_addr *client) {
  bool is_proxied = connection->is_proxied;
  int r = mb_connection_open(connection, fd, now.options->log_journal, now.options->keepalive);
  if (r < 0) {
    mb_connection_end(connection, MB_EXIT_OK);
    return r;
  }
  connection->is_proxied = is_proxied;
  if (is_proxied) connection->remote = *client;
  return 0;
}

/*
 * Serves a connection from within a text that is given up, and ends the process: that text stands in a wait, from which
 * it cannot be called back.
 */
static _Noreturn void leave_for(int fd, const struct mb_addr *client) {
  struct mb_connection connection = *now.connection;
  mb_connection_end(now.connection, MB_EXIT_OK);
  mb_standin_forget();
  if (++now.depth > DEPTH_MAX || open_again(&connection, fd, client) < 0) exit(MB_EXIT_OK);
  exit((int)mb_dev_serve(now.options, &connection));
}

static bool wants(void) { return is_on && handed.fd < 0 && mb_dev_files_changed(); }

static void take(int fd, const struct mb_addr *client) {
  struct mb_addr copy = *client;
  /* The sandbox of the old text holds for good. The client connects again, and gets a process with the new one. */
  if (mb_sandbox_is_locked()) {
    close(fd);
    return;
  }
  /* A program of another library would wait for another connection. */
  if (now.options->style) leave_for(fd, &copy);
  handed.fd = fd;
  handed.client = copy;
}

/* A browser connects before it needs to: the text may be old when the first request comes. */
static void at_first_input(struct mb_handle *h, size_t len) {
  if (mb_sandbox_is_locked() || !wants() || h->out.len > 0 || !h->guarded || h->traffic->out > 0)
    return;
  off_t end = MB_RARE_LARGE(lseek)(h->record_fd, 0, SEEK_CUR);
  if (len > UNREAD_MAX || end < (off_t)len) return;
  if (pread(h->record_fd, unread.bytes, len, end - (off_t)len) != (ssize_t)len) return;
  struct mb_addr client = h->remote;
  int fd = mb_handle_detach(h);
  if (fd < 0) return;
  unread.len = len;
  leave_for(fd, &client);
}

bool mb_dev_begin(void) {
  static const struct mb_kept_taker taker = {.wants = wants, .take = take};
  int r = mb_dev_watch_open();
  if (r < 0) {
    mb_log(LOG_ERR, "--dev: cannot watch the script: %s", strerror(-r));
    return false;
  }
  is_on = true;
  mb_kept_offer(&taker);
  mb_handle_at_first_input(at_first_input);
  return true;
}

enum mb_exit mb_dev_serve(const struct mb_options *options, struct mb_connection *connection) {
  now.options = options;
  now.connection = connection;
  for (;;) {
    mb_dev_keep_error("", 0);
    enum mb_exit exit = mb_serve(options, connection);
    int fd = handed.fd;
    if (fd < 0) return exit;
    handed.fd = -1;
    if (open_again(connection, fd, &handed.client) < 0) return exit;
  }
}

/* Puts what a handler before has read where this one reads first. */
static void put_unread(lua_State *L, struct mb_handle *h) {
  size_t room;
  if (unread.len == 0) return;
  mb_state_reserve(L, &h->in, unread.len);
  memcpy(mb_buf_room(&h->in, &room), unread.bytes, unread.len);
  mb_buf_added(&h->in, unread.len);
  h->received = unread.len;
  if (h->record_fd >= 0) mb_record_write(h->record_fd, unread.bytes, unread.len);
  unread.len = 0;
}

static int open_tap(void) {
  int fd = MB_RARE(memfd_create)("mb-handle-dev", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return -1; /* then a handler that has read something gets no page */
  /* A request that is longer is not kept. */
  if (MB_RARE_LARGE(ftruncate)(fd, UNREAD_MAX) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) == 0)
    return fd;
  close(fd);
  return -1;
}

void mb_dev_attach(lua_State *L, struct mb_handle *h, struct mb_connection *connection) {
  if (!h->traffic) {
    connection->log.traffic = (struct mb_traffic){0};
    h->traffic = &connection->log.traffic;
  }
  if (h->record_fd < 0) h->record_fd = open_tap(); /* else --record has it */
  put_unread(L, h);
}

/* Reads what the handler has got from the client. Returns false when it is not there. */
static bool read_unread(struct mb_handle *h) {
  unread.len = 0;
  if (h->received == 0) return true;
  off_t end = h->record_fd >= 0 ? MB_RARE_LARGE(lseek)(h->record_fd, 0, SEEK_CUR) : -1;
  if (end < (off_t)h->received || h->received > UNREAD_MAX) return false;
  /* A proxy's header stands before. */
  ssize_t n = pread(h->record_fd, unread.bytes, (size_t)h->received, end - (off_t)h->received);
  if (n != (ssize_t)h->received) return false;
  unread.len = (size_t)n;
  return true;
}

void mb_dev_take_back(struct mb_handle *h, struct mb_connection *connection) {
  if (!mb_handle_is_open(h) || !h->traffic || h->traffic->out > 0 || h->out.len > 0) return;
  if (!read_unread(h)) return;
  mb_buf_take(&h->in, mb_buf_len(&h->in));
  struct mb_addr client = h->remote;
  int fd = mb_handle_detach(h);
  if (fd < 0) return;
  enum mb_fd_kind kind = mb_fd_kind_of(fd);
  mb_fd_set_reset_on_close(fd, kind, true);
  connection->io = mb_channel_of(fd, fd, kind);
  connection->io.keeps_last = kind == MB_FD_LOCAL;
  connection->remote = client;
}

/* ---- the answer ---- */

/* Returns whether bytes are the begin of a request: a method, a space, and HTTP at the line's end, if that is there. */
static bool is_http(const char *text, size_t len) {
  size_t method = 0;
  while (method < len && text[method] >= 'A' && text[method] <= 'Z') method++;
  if (method == 0 || method == len || text[method] != ' ') return false;
  const char *end = memchr(text, '\n', len);
  return !end || memmem(text, (size_t)(end - text), " HTTP/", 6) != NULL;
}

static bool speaks_http(const struct mb_connection *connection) {
  char begin[2048];
  if (unread.len > 0) return is_http(unread.bytes, unread.len);
  int fd = connection->io.in_fd;
  if (mb_fd_poll(fd, POLLIN, mb_now_usec() + BEGIN_USEC) <= 0) return false;
  ssize_t n = recv(fd, begin, sizeof begin, MSG_PEEK | MSG_DONTWAIT);
  return n > 0 && is_http(begin, (size_t)n);
}

struct answer {
  struct mb_connection *connection;
  struct mb_handle *handle;
  const char *what;
};

/* Pushes the connection's handle, with what was read before in its buffer. */
static void push_handle(lua_State *L, struct answer *a) {
  struct mb_connection *c = a->connection;
  struct mb_handle *h = mb_handle_new(L);
  put_unread(L, h);
  mb_handle_attach(h, c->io);
  h->local = c->local;
  h->remote = c->remote;
  mb_handle_guard(h);
  c->io = MB_CHANNEL_CLOSED; /* the handle closes it */
  a->handle = h;
}

static int answer(lua_State *L) {
  struct answer *a = lua_touserdata(L, 1);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "mb.dev");
  lua_call(L, 1, 0);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "mb.dev.answer");
  lua_call(L, 1, 1);
  lua_pushlstring(L, last_error.text, last_error.len);
  lua_pushstring(L, a->what);
  lua_call(L, 2, 1);
  push_handle(L, a);
  lua_call(L, 1, 0);
  return 0;
}

static enum mb_exit run_answer(lua_State *L, const struct mb_script *script, void *context) {
  struct answer *a = context;
  (void)script;
  lua_pushcfunction(L, answer);
  lua_pushlightuserdata(L, a);
  int status = mb_state_call(L, 1, 0);
  if (a->handle) mb_handle_end(a->handle, status == LUA_OK);
  if (status != LUA_OK) mb_script_log_error(L);
  return MB_EXIT_OK;
}

void mb_dev_answer(const struct mb_options *options, struct mb_connection *connection,
                   enum mb_exit exit) {
  struct answer a = {
      .connection = connection,
      .what = exit == MB_EXIT_HANDLER ? "The handler has failed" : "The script does not load"};
  bool has_error = last_error.text && last_error.len > 0;
  if (connection->io.in_fd < 0 || !has_error || !speaks_http(connection)) return;
  if (unread.len == 0 && wants()) { /* while it has waited for the request */
    take(connection->io.in_fd, &connection->remote);
    connection->io = MB_CHANNEL_CLOSED;
    return;
  }
  mb_timeout_forget();
  mb_timeout_guard(&connection->io);
  mb_timeout_limit(ANSWER_SECONDS);
  mb_script_none(options, run_answer, &a);
}
