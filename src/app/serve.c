/*
 * Serves a connection until its end. The peer learns at once how it ended; then come the log, and
 * finish().
 */
#include "app/serve.h"

#include <errno.h>
#include <string.h>

#include "app/dev.h"
#include "app/listen.h"
#include "app/script.h"
#include "app/service.h"
#include "base/child.h"
#include "base/log.h"
#include "base/record.h"
#include "socket/handle.h"
#include "socket/handle_proxy.h"
#include "socket/standin.h"
#include "socket/timeout.h"
#include "state/state.h"

struct serving {
  struct mb_connection *connection;
  const struct mb_options *options;
  const struct mb_listen_entry *listener;
  const struct mb_serve_more *more; /* NULL: this connection is the only one */
  struct mb_handle *handle;
  bool is_over; /* the connection has ended, and the program has not got another yet */
  bool goes_on; /* connect has returned true */
};

/* Logs what the script offers and what came. */
static void log_no_match(lua_State *L, const struct mb_script *script,
                         const struct mb_addr *local) {
  const char *offered = mb_script_push_offer(L);
  if (script->options->listener) {
    mb_script_complain("%s: listener %d takes no connection or does not exist; the script has: %s",
                       script->path, script->options->listener, offered);
  } else if (local->len == 0) {
    mb_script_complain("%s: no listener to replay: the script has: %s", script->path, offered);
  } else {
    char came[MB_ADDR_LABEL_MAX];
    mb_addr_label(local, came);
    mb_script_complain("%s: no listener for the connection to %s: the script has: %s", script->path,
                       came, offered);
  }
  lua_pop(L, 1);
}

/* Returns why a recording cannot be opened, by the result of mb_record_open. */
static const char *why_not_recorded(int r) {
  switch (r) {
    case -EINVAL:
      return "not a regular file of its own";
    case -ELOOP:
      return "it is a symbolic link";
    case -EPERM:
      return "it belongs to another user, or has another name (a hard link)";
    default:
      return strerror(-r);
  }
}

/* A recording that fails never disturbs the connection. */
static void open_record(struct mb_handle *h, const char *name, unsigned number) {
  int fd = mb_record_open(name, number, mb_handle_fd(h));
  if (fd < 0) {
    mb_log(LOG_WARNING, "--record: cannot record to %s: %s", name, why_not_recorded(fd));
    return;
  }
  h->record_fd = fd;
}

static int new_connection_handle(lua_State *L) {
  const struct serving *s = lua_touserdata(L, 1);
  struct mb_connection *c = s->connection;
  struct mb_handle *h = mb_handle_new(L);
  mb_handle_attach(h, c->io);
  h->local = c->local;
  h->remote = c->remote;
  h->traffic = mb_connection_log_traffic(&c->log);
  if (s->options->record) open_record(h, s->options->record, c->number);
  if (s->options->dev) mb_dev_attach(L, h, c);
  mb_handle_guard(h);
  c->io = MB_CHANNEL_CLOSED; /* the handle closes it */
  return 1;
}

/*
 * Returns whether all of a replay's output was written. A reader that has seen enough (EPIPE) is no
 * failure.
 */
static bool output_is_complete(const struct mb_handle *h) {
  if (!mb_handle_is_replay(h) || h->out_error == 0 || h->out_error == EPIPE) return true;
  mb_log(LOG_ERR, "cannot write the output: %s", strerror(h->out_error));
  return false;
}

/* Calls connect with the handle on top of the stack, and ends the connection. */
static enum mb_exit run_connect(lua_State *L, const struct mb_service *service, void *context) {
  struct serving *s = context;
  lua_pushvalue(L, -1);
  int status = mb_service_connect(L, service, &s->goes_on);
  if (status != LUA_OK && s->options->dev) mb_dev_take_back(s->handle, s->connection);
  /* The peer learns of the end before the log does. */
  mb_handle_end(s->handle, status == LUA_OK);
  enum mb_exit exit = MB_EXIT_OK;
  if (status != LUA_OK) {
    mb_script_log_error(L);
    exit = MB_EXIT_HANDLER;
  } else if (!output_is_complete(s->handle)) {
    exit = MB_EXIT_SYSTEM;
  }
  /* The handler's time limit still holds: a log that nobody reads must not hold the process. */
  mb_connection_log_end(&s->connection->log, (int)exit);
  return exit;
}

/*
 * Takes a proxy's header off the connection, where one is expected. Returns true; or false, with the exit
 * status, when there is nothing to serve.
 */
static bool take_proxy_header(lua_State *L, struct serving *s, enum mb_exit *ret_exit) {
  const struct mb_options *o = s->options;
  const struct mb_listen_entry *listener = s->listener;
  if ((!o->proxy_protocol && !listener->proxy_protocol) || s->connection->is_proxied) return true;
  const char *trust = o->proxy_trust ? o->proxy_trust : listener->proxy_trust;
  switch (mb_handle_take_proxy_header(L, trust)) {
    case MB_PROXY_NAMED:
      mb_connection_log_client(&s->connection->log, &s->handle->remote);
      s->connection->is_proxied = true;
      return true;
    case MB_PROXY_UNNAMED:
      s->connection->is_proxied = true;
      return true;
    case MB_PROXY_REFUSED:
      mb_connection_log_end_by(&s->connection->log, "refused");
      *ret_exit = MB_EXIT_OK;
      return false;
    case MB_PROXY_THREW:
      break;
  }
  mb_script_log_error(L);
  *ret_exit = MB_EXIT_HANDLER;
  return false;
}

/* Makes the handle of the connection, and takes a proxy's header off. Returns as take_proxy_header does. */
static bool open_handle(lua_State *L, struct serving *s, enum mb_exit *ret_exit) {
  lua_pushcfunction(L, new_connection_handle);
  lua_pushlightuserdata(L, s);
  if (mb_state_call(L, 1, 1) != LUA_OK) {
    mb_script_log_error(L);
    *ret_exit = MB_EXIT_HANDLER;
    return false;
  }
  s->handle = lua_touserdata(L, -1);
  return take_proxy_header(L, s, ret_exit);
}

static enum mb_exit serve(lua_State *L, const struct mb_script *script, void *context) {
  struct serving *s = context;
  const struct mb_addr *local = &s->connection->local;
  const struct mb_listen_entry *listener = mb_listen_find(
      L, local->len ? local : NULL, s->connection->io.in_fd, script->options->listener);
  if (!listener) {
    log_no_match(L, script, local);
    return MB_EXIT_CONFIG;
  }
  enum mb_exit exit = MB_EXIT_OK;
  s->listener = listener;
  if (!open_handle(L, s, &exit)) return exit;
  exit = mb_service_run(L, listener->service, s->options, run_connect, s);
  if (exit != MB_EXIT_OK && s->options->dev) mb_dev_take_back(s->handle, s->connection);
  mb_handle_end(s->handle, false); /* still open when prepare has failed */
  return exit;
}

/* Sets what guards the connection from a handler that never ends, and the log from one that writes without end. */
static void guard(const struct mb_options *options, struct mb_connection *connection) {
  mb_timeout_guard(&connection->io);
  if (connection->io.kind == MB_FD_TCP) mb_timeout_silence(options->silence);
  /* A replay has its output to itself, and a reader who waits for all of it. */
  if (connection->local.len > 0)
    mb_log_limit(options->log_lines ? options->log_lines : MB_LOG_LINES);
}

enum mb_exit mb_serve(const struct mb_options *options, struct mb_connection *connection) {
  struct serving s = {.connection = connection, .options = options};
  guard(options, connection);
  enum mb_exit exit = mb_script_run(options, &connection->local, serve, &s);
  if (exit != MB_EXIT_OK && options->dev) mb_dev_answer(options, connection, exit);
  mb_connection_end(connection, (int)exit);
  mb_standin_forget();
  return exit;
}

/* ---- one connection after another ---- */

/* Ends what the script has opened for a connection, and has dropped. */
static void clean_up(lua_State *L) {
  bool collects = mb_state_has_new_holders(L);
  if (collects) mb_timeout_limit_finalizers(true);
  if (mb_state_drop_holders(L) != LUA_OK) mb_script_log_error(L);
  if (collects) mb_timeout_limit_finalizers(false);
  mb_child_end_abandoned();
}

/* Opens the handle of a connection that is not the first, and limits it. Returns as take_proxy_header does. */
static bool begin(lua_State *L, struct serving *s, enum mb_exit *ret_exit) {
  mb_timeout_limit(s->options->timeout);
  guard(s->options, s->connection);
  return open_handle(L, s, ret_exit);
}

/* The source of a program's further connections: see mb_standin_source. */
static int next(lua_State *L, int64_t deadline, void *context) {
  struct serving *s = context;
  int top = lua_gettop(L);
  if (!s->is_over) {
    s->is_over = true;
    mb_connection_log_end(&s->connection->log, MB_EXIT_OK);
    clean_up(L);
    mb_connection_end(s->connection, MB_EXIT_OK);
  }
  for (;;) {
    int r = s->more->next(L, s->connection, deadline, s->more->context);
    if (r <= 0) return r;
    struct mb_handle *before = s->handle;
    enum mb_exit exit = MB_EXIT_OK;
    if (begin(L, s, &exit)) break;
    s->handle = before; /* the other one is garbage */
    lua_settop(L, top);
    mb_connection_end(s->connection, (int)exit);
    if (exit != MB_EXIT_OK) return -1;
  }
  s->is_over = false;
  return 1;
}

enum mb_exit mb_serve_next(lua_State *L, const struct mb_options *options,
                           const struct mb_listen_entry *listener, struct mb_connection *connection,
                           const struct mb_serve_more *more, bool *ret_goes_on) {
  struct serving s = {
      .connection = connection, .options = options, .listener = listener, .more = more};
  const struct mb_standin_source source = {
      .fd = more->fd, .is_one = more->is_one, .next = next, .context = &s};
  int top = lua_gettop(L);
  enum mb_exit exit = MB_EXIT_OK;
  mb_standin_continue(&source);
  if (begin(L, &s, &exit)) {
    exit = run_connect(L, listener->service, &s);
    mb_timeout_clear();
  } else {
    s.goes_on = exit == MB_EXIT_OK; /* the client is at fault, and the script has not seen it */
  }
  lua_settop(L, top);
  if (s.goes_on) clean_up(L); /* otherwise the state is closed */
  mb_connection_end(connection, (int)exit);
  mb_standin_forget();
  *ret_goes_on = s.goes_on;
  return exit;
}
