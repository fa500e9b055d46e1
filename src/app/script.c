/*
 * Finds a script, loads it, and calls its functions. Every error of Lua ends here in a status, never in
 * an abort.
 */
#include "app/script.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <stdarg.h>
#include <string.h>

#include "api/io/io_module.h"
#include "api/mb/style.h"
#include "app/dev.h"
#include "app/embedded.h"
#include "app/listen.h"
#include "app/sandbox_lua.h"
#include "app/sandbox_notes.h"
#include "app/script_path.h"
#include "base/log.h"
#include "base/mathematics.h"
#include "socket/handle.h"
#include "socket/timeout.h"
#include "state/libraries.h"
#include "state/source.h"
#include "state/state.h"

#define OUT_OF_MEMORY "not enough memory" /* Lua's message */

void mb_script_complain(const char *format, ...) {
  char text[2048]; /* the log takes no more */
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  mb_log(LOG_ERR, "%s", text);
  mb_dev_keep_error(text, strlen(text));
}

void mb_script_log_error(lua_State *L) {
  size_t len;
  const char *text = lua_tolstring(L, -1, &len);
  mb_log_text(LOG_ERR, text, len);
  /* Anywhere in the text: a library's function may put a position before it. */
  if (mb_state_alloc(L)->refused && strstr(text, OUT_OF_MEMORY)) {
    mb_log(LOG_ERR, "the limit is %zu bytes: memory_limit in listen{}, or --memory-limit",
           mb_state_alloc(L)->limit);
  }
  mb_dev_show_error(L);
  lua_pop(L, 1);
}

/* What is ours in the standard libraries gets into them when they are opened. */
static void libraries_opened(lua_State *L, unsigned opened) {
  if (opened & MB_LIBRARY_MOONBRIDGE_IO) mb_io_open(L);
  /* Now: later there may be no descriptor for it, or the process has locked itself. */
  if (opened & (MB_LIBRARY_MATH | MB_LIBRARY_OPERATORS)) mb_mathematics_load();
  mb_timeout_limit_exit(L, opened);
  mb_sandbox_lua_add(L, opened);
}

static int open_state(lua_State *L) {
  const struct mb_script *script = lua_touserdata(L, 1);
  mb_state_open(L, script->path);
  mb_listen_open(L);
  mb_timeout_open(L);
  mb_handle_open(L);
  mb_embedded_open(L);
  /* There is no text to look into. */
  if (!*script->path) mb_libraries_open(L, MB_LIBRARIES_ALL);
  return 0;
}

/* Compiles the script. Returns the chunk; or nil and a message, which needs no traceback. */
static int compile(lua_State *L) {
  struct mb_script *script = lua_touserdata(L, 1);
  script->compiled = mb_source_load(L, script->path);
  if (script->compiled == LUA_OK) return 1;
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

/*
 * Calls the chunk with the script's arguments; it may return a connect handler. With --style the chunk
 * itself is the connect handler.
 */
static int run_chunk(lua_State *L) {
  const struct mb_script *script = lua_touserdata(L, 1);
  const struct mb_options *o = script->options;
  if (o->style) {
    mb_style_wrap(L, o->style, script->path, o->args, o->nargs);
    mb_listen_any(L);
    return 0;
  }
  luaL_checkstack(L, o->nargs, "too many arguments");
  for (int i = 0; i < o->nargs; i++) lua_pushstring(L, o->args[i]);
  lua_call(L, o->nargs, 1);
  if (lua_isfunction(L, -1)) {
    mb_listen_any(L);
  } else if (!lua_isnil(L, -1)) {
    return luaL_error(
        L, "%s: the script returned a %s: expected a connect handler (a function) or nothing",
        script->path, luaL_typename(L, -1));
  }
  return 0;
}

static enum mb_exit load_failed(lua_State *L, int lua_status) {
  mb_script_log_error(L);
  return lua_status == LUA_ERRMEM ? MB_EXIT_HANDLER : MB_EXIT_CONFIG;
}

/* A client cannot tell a script that does not load from a server that is not there: the log has to. */
#define NOT_SERVED     " (the script does not load: no answer for the connection to %s)"
#define NOT_SERVED_MAX (sizeof NOT_SERVED + MB_ADDR_LABEL_MAX)

/* Writes what stands behind an error of the script; nothing when no connection waits for an answer. */
static void describe_end(const struct mb_script *script, char text[NOT_SERVED_MAX]) {
  char label[MB_ADDR_LABEL_MAX];
  text[0] = '\0';
  if (!script->is_waited_for || script->options->dev) return;
  mb_addr_label(script->local, label);
  snprintf(text, NOT_SERVED_MAX, NOT_SERVED, label);
}

/* Puts the script's name before the message, and what it means for the connection behind its first line. */
static int complete(lua_State *L) {
  const struct mb_script *script = lua_touserdata(L, 1);
  const char *message = lua_tostring(L, 2), *path = script->path;
  bool is_named = strncmp(message, path, strlen(path)) == 0 || script->compiled == LUA_ERRFILE;
  char end[NOT_SERVED_MAX];
  describe_end(script, end);
  size_t len = strcspn(message, "\n");
  if (!is_named) lua_pushfstring(L, "%s: ", path);
  lua_pushlstring(L, message, len);
  lua_pushstring(L, end);
  lua_pushstring(L, message + len);
  lua_concat(L, lua_gettop(L) - 2);
  return 1;
}

/*
 * Completes the error on top of the stack, and logs it. The error has no position when the call that has
 * failed was the script's last (return generate_handler(...): a tail call).
 */
static enum mb_exit script_failed(lua_State *L, struct mb_script *script, int lua_status) {
  const char *message = lua_tostring(L, -1);
  if (strncmp(message, OUT_OF_MEMORY, strlen(OUT_OF_MEMORY)) != 0) {
    lua_pushcfunction(L, complete);
    lua_pushlightuserdata(L, script);
    lua_pushvalue(L, -3);
    if (mb_state_call(L, 2, 1) == LUA_OK) {
      lua_replace(L, -2);
    } else {
      lua_pop(L, 1);
    }
  }
  return load_failed(L, lua_status);
}

static enum mb_exit prepare_state(lua_State *L, struct mb_script *script) {
  lua_pushcfunction(L, open_state);
  lua_pushlightuserdata(L, script);
  int status = mb_state_call(L, 1, 0);
  return status == LUA_OK ? MB_EXIT_OK : load_failed(L, status);
}

static enum mb_exit load(lua_State *L, struct mb_script *script) {
  enum mb_exit exit = prepare_state(L, script);
  if (exit != MB_EXIT_OK) return exit;

  int status = script->options->dev ? mb_dev_prepare(L, script->path) : LUA_OK;
  if (status != LUA_OK) return load_failed(L, status);
  lua_pushcfunction(L, compile);
  lua_pushlightuserdata(L, script);
  status = mb_state_call(L, 1, 2);
  if (status != LUA_OK) return load_failed(L, status);
  if (script->compiled != LUA_OK) {
    exit = script_failed(L, script, script->compiled);
    return script->compiled == LUA_ERRFILE ? MB_EXIT_NO_SCRIPT : exit;
  }
  lua_pop(L, 1);

  lua_pushcfunction(L, run_chunk);
  lua_insert(L, -2);
  lua_pushlightuserdata(L, script);
  lua_insert(L, -2);
  status = mb_state_call(L, 2, 0);
  if (status != LUA_OK) return script_failed(L, script, status);
  if (mb_listen_first(L)) return MB_EXIT_OK;
  char end[NOT_SERVED_MAX];
  describe_end(script, end);
  mb_script_complain(
      "%s: no handler: the script neither called listen{connect = function(socket) ... end} nor "
      "returned a function%s",
      script->path, end);
  return MB_EXIT_CONFIG;
}

enum mb_exit mb_script_call(lua_State *L, int handler) {
  if (handler == LUA_NOREF) return MB_EXIT_OK;
  lua_rawgeti(L, LUA_REGISTRYINDEX, handler);
  if (mb_state_call(L, 0, 0) == LUA_OK) return MB_EXIT_OK;
  mb_script_log_error(L);
  return MB_EXIT_HANDLER;
}

static int describe_listeners(lua_State *L) {
  mb_listen_describe(L);
  return 1;
}

const char *mb_script_push_offer(lua_State *L) {
  lua_pushcfunction(L, describe_listeners);
  mb_state_call(L, 0, 1); /* at worst this leaves "not enough memory", which is as good an answer */
  return lua_tostring(L, -1);
}

void mb_script_limit_memory(lua_State *L, lua_Integer limit) {
  struct mb_alloc *alloc = mb_state_alloc(L);
  size_t wanted = (size_t)limit;
  if (wanted && (alloc->limit == 0 || wanted < alloc->limit)) alloc->limit = wanted;
}

static bool find_script(struct mb_script *script, const struct mb_addr *local,
                        char path[PATH_MAX]) {
  script->path = mb_script_path(script->options, local, path);
  if (script->path) return true;
  char tried[MB_SCRIPT_TRIED_MAX];
  mb_script_tried(script->options, local, tried);
  mb_script_complain("no script: tried %s; name one as an argument or in $MB_SCRIPT", tried);
  return false;
}

/* Makes the state of a script, and works with it. */
static enum mb_exit with_state(struct mb_script *script, size_t limit, bool is_loaded,
                               mb_script_body *body, void *context) {
  struct mb_state state = {.alloc.limit = limit,
                           .libraries_opened = libraries_opened,
                           .installed_first = mb_style_prefers_installed(script->options->style)};
  lua_State *L = mb_state_new(&state);
  if (!L) {
    mb_log(LOG_ERR, "not enough memory for a Lua state");
    return MB_EXIT_HANDLER;
  }
  enum mb_exit exit = is_loaded ? load(L, script) : prepare_state(L, script);
  if (exit == MB_EXIT_OK) exit = body(L, script, context);
  mb_timeout_limit_finalizers(true);
  mb_state_close(L);
  mb_timeout_limit_finalizers(false);
  mb_sandbox_notes_close(); /* the wishes were the state's */
  return exit;
}

enum mb_exit mb_script_none(const struct mb_options *options, mb_script_body *body, void *context) {
  static const struct mb_addr no_address;
  struct mb_script script = {.options = options, .local = &no_address, .path = ""};
  return with_state(&script, 0, false, body, context);
}

static enum mb_exit run(struct mb_script *script, mb_script_body *body, void *context) {
  const struct mb_options *options = script->options;
  char path[PATH_MAX];
  if (!find_script(script, script->local, path)) return MB_EXIT_NO_SCRIPT;
  /* With --units and its like the limit belongs to the processes that the units start. */
  if (!mb_options_make_text(options)) mb_timeout_limit(options->timeout);
  return with_state(script, options->memory_limit, true, body, context);
}

static const struct mb_addr none;

enum mb_exit mb_script_run(const struct mb_options *options, const struct mb_addr *local,
                           mb_script_body *body, void *context) {
  struct mb_script script = {
      .options = options, .local = local ? local : &none, .is_waited_for = local && local->len > 0};
  return run(&script, body, context);
}

enum mb_exit mb_script_run_pool(const struct mb_options *options, const struct mb_addr *local,
                                mb_script_body *body, void *context) {
  struct mb_script script = {.options = options, .local = local ? local : &none};
  return run(&script, body, context);
}
