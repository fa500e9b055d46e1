/*
 * From a connection to its end. The peer is told at once how it ended; then come the log, and
 * finish().
 */
#include "app/serve.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "app/connection_log.h"
#include "socket/handle.h"
#include "socket/handle_proxy.h"
#include "socket/standin.h"
#include "app/listen.h"
#include "base/log.h"
#include "base/record.h"
#include "app/script.h"
#include "state/state.h"
#include "socket/timeout.h"

struct serving {
  const struct mb_connection *connection;
  const struct mb_options *options;
  const struct mb_listen_entry
      *listener; /* NULL until it is found: nobody has the connection yet */
};

/* Says what was offered and what came. */
static void log_no_match(lua_State *L, const struct mb_script *script,
                         const struct mb_addr *local) {
  const char *offered = mb_script_push_offer(L);
  if (script->options->listener) {
    mb_log(LOG_ERR, "%s: listener %d takes no connection or does not exist; the script has: %s",
           script->path, script->options->listener, offered);
  } else if (local->len == 0) {
    mb_log(LOG_ERR, "%s: no listener to replay: the script has: %s", script->path, offered);
  } else {
    char came[MB_ADDR_LABEL_MAX];
    mb_addr_label(local, came);
    mb_log(LOG_ERR, "%s: no listener for the connection to %s: the script has: %s", script->path,
           came, offered);
  }
  lua_pop(L, 1);
}

/* A recording that fails never disturbs the connection. */
static void open_record(struct mb_handle *h, const char *name) {
  int fd = mb_record_open(name, h->in_fd);
  if (fd < 0) {
    mb_log(LOG_WARNING, "--record: cannot record to %s: %s", name,
           fd == -EINVAL ? "not a regular file of its own" : strerror(-fd));
    return;
  }
  h->record_fd = fd;
}

static int new_connection_handle(lua_State *L) {
  const struct serving *s = lua_touserdata(L, 1);
  const struct mb_connection *c = s->connection;
  struct mb_handle *h = mb_handle_new(L);
  mb_handle_attach(h, c->fds.in, c->fds.out, c->kind);
  h->local = c->local;
  h->remote = c->remote;
  h->traffic = mb_connection_log_traffic();
  if (s->options->record) open_record(h, s->options->record);
  h->guarded = true;
  return 1;
}

void mb_serve_end_connection(struct mb_handle *h, bool healthy) {
  if (!mb_handle_is_open(h)) return;
  if (!healthy) {
    mb_handle_reset(h);
    return;
  }
  int r = mb_handle_close(h);
  if (r < 0 && h->kind != MB_FD_FILE) {
    mb_log(LOG_INFO, "the client has gone before everything was sent: %s", strerror(-r));
  }
}

/* Whether all of a replay's output went where it should; a reader that has seen enough is fine. */
static bool output_is_complete(const struct mb_handle *h) {
  if (h->kind != MB_FD_FILE || h->out_error == 0 || h->out_error == EPIPE) return true;
  mb_log(LOG_ERR, "cannot write the output: %s", strerror(h->out_error));
  return false;
}

/* Calls connect with the handle on top of the stack, and ends the connection. */
static enum mb_exit run_connect(lua_State *L, const struct mb_service *service) {
  struct mb_handle *h = lua_touserdata(L, -1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, service->connect);
  lua_pushvalue(L, -2);
  int status = mb_state_call(L, 1, 0);
  /* First the peer, then the log. */
  mb_serve_end_connection(h, status == LUA_OK);
  if (status != LUA_OK) mb_script_log_error(L);
  if (status != LUA_OK) return MB_EXIT_HANDLER;
  return output_is_complete(h) ? MB_EXIT_OK : MB_EXIT_SYSTEM;
}

static void close_listen(lua_State *L, const struct mb_service *service) {
  static const char in_program[] =
      "not in a program of another library, which accepts by itself: a script with listen{} is "
      "started without --style";
  bool is_program = mb_style_is_program(L, service->connect);
  mb_listen_close(L, is_program ? in_program : MB_LISTEN_IN_HANDLER);
}

/* With the handle on top of the stack. */
static enum mb_exit run_handlers(lua_State *L, const struct mb_service *service) {
  close_listen(L, service);
  mb_script_limit_memory(L, service->memory_limit);
  enum mb_exit exit = mb_script_call(L, service->prepare);
  mb_timeout_clear();
  if (exit != MB_EXIT_OK) {
    mb_serve_end_connection(lua_touserdata(L, -1), false);
    mb_connection_log_end((int)exit);
    return exit;
  }
  exit = run_connect(L, service);
  /* Under the handler's time limit still: a log that nobody reads must not hold the process. */
  mb_connection_log_end((int)exit);
  mb_timeout_clear();
  enum mb_exit finished = mb_script_call(L, service->finish);
  return exit == MB_EXIT_OK ? finished : exit;
}

/* Whether the connection's own addresses are known, or need not be: see handle_proxy.h. */
static bool take_proxy_header(lua_State *L, const struct serving *s, enum mb_exit *ret_exit) {
  const struct mb_options *o = s->options;
  if (!o->proxy_protocol && !s->listener->proxy_protocol) return true;
  const char *trust = o->proxy_trust ? o->proxy_trust : s->listener->proxy_trust;
  return mb_handle_take_proxy_header(L, trust, ret_exit);
}

static enum mb_exit serve(lua_State *L, const struct mb_script *script, void *context) {
  struct serving *s = context;
  const struct mb_addr *local = &s->connection->local;
  s->listener = mb_listen_find(L, local->len ? local : NULL, script->options->listener);
  if (!s->listener) {
    log_no_match(L, script, local);
    return MB_EXIT_CONFIG;
  }
  lua_pushcfunction(L, new_connection_handle);
  lua_pushlightuserdata(L, s);
  if (mb_state_call(L, 1, 1) != LUA_OK) {
    mb_script_log_error(L);
    s->listener = NULL;
    return MB_EXIT_HANDLER;
  }
  enum mb_exit exit = MB_EXIT_OK;
  if (take_proxy_header(L, s, &exit)) exit = run_handlers(L, s->listener->service);
  return exit;
}

enum mb_exit mb_serve(const struct mb_options *options, const struct mb_connection *connection) {
  struct serving s = {.connection = connection, .options = options};
  mb_timeout_guard(connection->fds.out, connection->kind);
  enum mb_exit exit = mb_script_run(options, &connection->local, serve, &s);
  /* Not reached by a handler: the peer is told at once, whoever holds a copy of the connection. */
  if (!s.listener) mb_fd_reset(connection->fds.in, connection->kind);
  return exit;
}
