/*
 * The script: finds and loads it, and calls the functions that it has registered. serve.c, task.c and
 * deploy.c decide what is done with it.
 */
#ifndef MB_SCRIPT_H
#define MB_SCRIPT_H

#include <lua.h>
#include <stdbool.h>

#include "app/options.h"
#include "base/addr.h"
#include "base/exits.h"

struct mb_script {
  const struct mb_options *options;
  const char *path;
  const struct mb_addr *local; /* of the connection or the listener; len 0: there is none */
  bool is_waited_for;          /* by a client, for an answer */
  int compiled;                /* status of luaL_loadfile */
};

/* Works with a script that has been loaded and has a listener. */
typedef enum mb_exit mb_script_body(lua_State *L, const struct mb_script *script, void *context);

/*
 * Finds and loads the script that the options name, in a Lua state of its own, and calls body. Logs what
 * goes wrong.
 * local  the connection's local address, by which the script may be found; or NULL
 * Returns body's status, or one that says why body was not called.
 */
enum mb_exit mb_script_run(const struct mb_options *options, const struct mb_addr *local,
                           mb_script_body *body, void *context);

/* Does the same for a listener: no client waits until the script is loaded. */
enum mb_exit mb_script_run_pool(const struct mb_options *options, const struct mb_addr *local,
                                mb_script_body *body, void *context);

/* Calls body with a Lua state in which no script was loaded. Returns as mb_script_run does. */
enum mb_exit mb_script_none(const struct mb_options *options, mb_script_body *body, void *context);

/* Calls a function of the registry without arguments; LUA_NOREF: calls none. Logs its error. */
enum mb_exit mb_script_call(lua_State *L, int handler);

/* Pushes and returns a text for a message: the script's listeners. */
const char *mb_script_push_offer(lua_State *L);

/* Lowers the limit of the state's memory to `limit` bytes; 0: leaves it as it is. */
void mb_script_limit_memory(lua_State *L, lua_Integer limit);

/* Logs an error that no Lua code has thrown, formatted as by printf. */
void mb_script_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Logs the error on top of the stack and pops it. */
void mb_script_log_error(lua_State *L);

#endif
