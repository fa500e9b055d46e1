/*
 * From a script to an exit status. Whatever happens in Lua ends here, in a status, never in an
 * abort.
 */
#include "script.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <string.h>

#include "embedded.h"
#include "handle.h"
#include "io_module.h"
#include "listen.h"
#include "log.h"
#include "record.h"
#include "script_path.h"
#include "state.h"
#include "timeout.h"

#define OUT_OF_MEMORY "not enough memory" /* Lua's message */

struct run {
  const struct mb_options *options;
  const struct mb_connection *connection; /* NULL for --check */
  int out;                                /* where --check prints to */
  const char *script;
  int compiled; /* what luaL_loadfile said */
  const struct mb_service *service;
};

/* Logs the error on top of the stack and pops it. */
static void log_error(lua_State *L) {
  size_t len;
  const char *text = lua_tolstring(L, -1, &len);
  mb_log_text(LOG_ERR, text, len);
  if (len >= strlen(OUT_OF_MEMORY) && memcmp(text, OUT_OF_MEMORY, strlen(OUT_OF_MEMORY)) == 0 &&
      mb_state_alloc(L)->refused) {
    mb_log(LOG_ERR, "the limit is %zu bytes: memory_limit in listen{}, or --memory-limit",
           mb_state_alloc(L)->limit);
  }
  lua_pop(L, 1);
}

static int open_state(lua_State *L) {
  const struct run *run = lua_touserdata(L, 1);
  mb_state_open(L, run->script);
  mb_listen_open(L);
  mb_timeout_open(L);
  mb_handle_open(L);
  mb_io_open(L);
  mb_embedded_open(L);
  return 0;
}

/* Compiles the script; returns the chunk, or nil and a message, which needs no traceback. */
static int compile(lua_State *L) {
  struct run *run = lua_touserdata(L, 1);
  errno = 0;
  run->compiled = luaL_loadfile(L, run->script);
  if (run->compiled == LUA_OK) return 1;
  /* The C library found no memory to open the file with. */
  if (run->compiled == LUA_ERRFILE && errno == ENOMEM) run->compiled = LUA_ERRMEM;
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

/* Calls the chunk with the script's arguments; what it returns may be a connect handler. */
static int run_chunk(lua_State *L) {
  const struct run *run = lua_touserdata(L, 1);
  const struct mb_options *o = run->options;
  luaL_checkstack(L, o->nargs, "too many arguments");
  for (int i = 0; i < o->nargs; i++) lua_pushstring(L, o->args[i]);
  lua_call(L, o->nargs, 1);
  if (lua_isfunction(L, -1)) {
    mb_listen_any(L);
  } else if (!lua_isnil(L, -1)) {
    return luaL_error(
        L, "%s: the script returned a %s: expected a connect handler (a function) or nothing",
        run->script, luaL_typename(L, -1));
  }
  return 0;
}

static enum mb_exit load_failed(lua_State *L, int lua_status) {
  log_error(L);
  return lua_status == LUA_ERRMEM ? MB_EXIT_HANDLER : MB_EXIT_CONFIG;
}

static int prefix(lua_State *L) {
  lua_pushfstring(L, "%s: %s", (const char *)lua_touserdata(L, 1), lua_tostring(L, 2));
  return 1;
}

/*
 * The error on top of the stack has no position when the call that has failed was the script's last
 * (return generate_handler(...): a tail call): puts the script's name before it.
 */
static void name_script(lua_State *L, const char *script) {
  const char *message = lua_tostring(L, -1);
  if (strncmp(message, script, strlen(script)) == 0 ||
      strncmp(message, OUT_OF_MEMORY, strlen(OUT_OF_MEMORY)) == 0)
    return;
  lua_pushcfunction(L, prefix);
  lua_pushlightuserdata(L, (void *)script);
  lua_pushvalue(L, -3);
  if (mb_state_call(L, 2, 1) == LUA_OK) {
    lua_replace(L, -2);
  } else {
    lua_pop(L, 1);
  }
}

static enum mb_exit load(lua_State *L, struct run *run) {
  lua_pushcfunction(L, open_state);
  lua_pushlightuserdata(L, run);
  int status = mb_state_call(L, 1, 0);
  if (status != LUA_OK) return load_failed(L, status);

  lua_pushcfunction(L, compile);
  lua_pushlightuserdata(L, run);
  status = mb_state_call(L, 1, 2);
  if (status != LUA_OK) return load_failed(L, status);
  if (run->compiled != LUA_OK) {
    enum mb_exit exit = load_failed(L, run->compiled);
    return run->compiled == LUA_ERRFILE ? MB_EXIT_NO_SCRIPT : exit;
  }
  lua_pop(L, 1);

  lua_pushcfunction(L, run_chunk);
  lua_insert(L, -2);
  lua_pushlightuserdata(L, run);
  lua_insert(L, -2);
  status = mb_state_call(L, 2, 0);
  if (status != LUA_OK) {
    name_script(L, run->script);
    return load_failed(L, status);
  }
  if (mb_listen_count() > 0) return MB_EXIT_OK;
  mb_log(LOG_ERR,
         "%s: no handler: the script neither called listen{connect = function(socket) ... end} nor "
         "returned a function",
         run->script);
  return MB_EXIT_CONFIG;
}

static int describe_listeners(lua_State *L) {
  mb_listen_describe(L);
  return 1;
}

/* Says what was offered and what came. */
static void log_no_match(lua_State *L, const struct run *run) {
  lua_pushcfunction(L, describe_listeners);
  if (mb_state_call(L, 0, 1) != LUA_OK) {
    log_error(L);
    return;
  }
  const char *offered = lua_tostring(L, -1);
  const struct mb_connection *c = run->connection;
  if (run->options->listener) {
    mb_log(LOG_ERR, "%s: listener %d takes no connection or does not exist; the script has: %s",
           run->script, run->options->listener, offered);
  } else if (c->local.len == 0) {
    mb_log(LOG_ERR, "%s: no listener to replay: the script has: %s", run->script, offered);
  } else {
    char came[MB_ADDR_LABEL_MAX];
    mb_addr_label(&c->local, came);
    mb_log(LOG_ERR, "%s: no listener for the connection to %s: the script has: %s", run->script,
           came, offered);
  }
  lua_pop(L, 1);
}

/* Calls prepare or finish, if it is there. */
static enum mb_exit call_handler(lua_State *L, int handler) {
  if (handler == LUA_NOREF) return MB_EXIT_OK;
  lua_rawgeti(L, LUA_REGISTRYINDEX, handler);
  if (mb_state_call(L, 0, 0) == LUA_OK) return MB_EXIT_OK;
  log_error(L);
  return MB_EXIT_HANDLER;
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
  const struct run *run = lua_touserdata(L, 1);
  const struct mb_connection *c = run->connection;
  struct mb_handle *h = mb_handle_new(L);
  mb_handle_attach(h, c->fds.in, c->fds.out, c->kind);
  h->local = c->local;
  h->remote = c->remote;
  if (run->options->record) open_record(h, run->options->record);
  h->guarded = true;
  return 1;
}

/* The connection is reset when the handler threw. A client that has gone is no failure of ours. */
static void end_connection(struct mb_handle *h, bool healthy) {
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

static enum mb_exit run_connect(lua_State *L, struct run *run) {
  lua_pushcfunction(L, new_connection_handle);
  lua_pushlightuserdata(L, run);
  if (mb_state_call(L, 1, 1) != LUA_OK) {
    log_error(L);
    mb_fd_reset(run->connection->fds.in, run->connection->kind);
    return MB_EXIT_HANDLER;
  }
  struct mb_handle *h = lua_touserdata(L, -1);
  lua_pushvalue(L, -1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, run->service->connect);
  lua_insert(L, -2);
  int status = mb_state_call(L, 1, 0);
  /* First the peer, then the log. */
  end_connection(h, status == LUA_OK);
  if (status != LUA_OK) log_error(L);
  bool complete = output_is_complete(h);
  lua_pop(L, 1);
  if (status != LUA_OK) return MB_EXIT_HANDLER;
  return complete ? MB_EXIT_OK : MB_EXIT_SYSTEM;
}

static void set_memory_limit(lua_State *L, const struct run *run) {
  struct mb_alloc *alloc = mb_state_alloc(L);
  size_t wanted = (size_t)run->service->memory_limit;
  if (wanted && (alloc->limit == 0 || wanted < alloc->limit)) alloc->limit = wanted;
}

static enum mb_exit run_handlers(lua_State *L, struct run *run) {
  mb_listen_close();
  set_memory_limit(L, run);
  enum mb_exit exit = call_handler(L, run->service->prepare);
  mb_timeout_clear();
  if (exit != MB_EXIT_OK) {
    mb_fd_reset(run->connection->fds.in, run->connection->kind);
    return exit;
  }
  exit = run_connect(L, run);
  mb_timeout_clear();
  enum mb_exit finished = call_handler(L, run->service->finish);
  return exit == MB_EXIT_OK ? finished : exit;
}

static enum mb_exit load_and_serve(lua_State *L, struct run *run) {
  enum mb_exit exit = load(L, run);
  if (exit != MB_EXIT_OK) return exit;
  const struct mb_connection *c = run->connection;
  run->service = mb_listen_find(c->local.len ? &c->local : NULL, run->options->listener);
  if (!run->service) {
    log_no_match(L, run);
    return MB_EXIT_CONFIG;
  }
  return run_handlers(L, run);
}

static enum mb_exit in_new_state(struct run *run, enum mb_exit (*body)(lua_State *, struct run *)) {
  mb_timeout_limit(run->options->timeout);
  struct mb_alloc alloc = {.limit = run->options->memory_limit};
  lua_State *L = mb_state_new(&alloc);
  if (!L) {
    mb_log(LOG_ERR, "not enough memory for a Lua state");
    return MB_EXIT_HANDLER;
  }
  enum mb_exit exit = body(L, run);
  lua_close(L);
  return exit;
}

static bool find_script(struct run *run, const struct mb_addr *local, char path[PATH_MAX]) {
  run->script = mb_script_path(run->options, local, path);
  if (run->script) return true;
  char tried[MB_SCRIPT_TRIED_MAX];
  mb_script_tried(run->options, local, tried);
  mb_log(LOG_ERR, "no script: tried %s; name one as an argument or in $MB_SCRIPT", tried);
  return false;
}

enum mb_exit mb_script_serve(const struct mb_options *options,
                             const struct mb_connection *connection) {
  char path[PATH_MAX];
  struct run run = {.options = options, .connection = connection};
  mb_timeout_guard(connection->fds.out, connection->kind);
  enum mb_exit exit = MB_EXIT_NO_SCRIPT;
  if (find_script(&run, &connection->local, path)) exit = in_new_state(&run, load_and_serve);
  /* Not reached by a handler: the peer is told at once, whoever holds a copy of the connection. */
  if (!run.service) mb_fd_reset(connection->fds.in, connection->kind);
  return exit;
}

static enum mb_exit load_and_print(lua_State *L, struct run *run) {
  enum mb_exit exit = load(L, run);
  if (exit != MB_EXIT_OK) return exit;
  FILE *to = fdopen(run->out, "w");
  if (to) mb_listen_print(to);
  if (to && fclose(to) == 0) return MB_EXIT_OK;
  mb_log(LOG_ERR, "--check: cannot write the listeners: %s", strerror(errno));
  return MB_EXIT_SYSTEM;
}

enum mb_exit mb_script_check(const struct mb_options *options, int out) {
  char path[PATH_MAX];
  struct mb_addr none = {.len = 0};
  struct run run = {.options = options, .out = out};
  return find_script(&run, &none, path) ? in_new_state(&run, load_and_print) : MB_EXIT_NO_SCRIPT;
}
