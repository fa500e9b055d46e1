/* --style: runs a server program that was written for another library, with the help of socket/standin.h. */
#include "api/mb/style.h"

#include <errno.h>
#include <lauxlib.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "api/mb/lua51.h"
#include "base/connect.h"
#include "base/fdio.h"
#include "base/rare.h"
#include "socket/standin.h"
#include "state/libraries.h"
#include "state/state.h"

/* Our modules for the libraries. install() of the module is called before the program runs. */
static const char *const modules[] = {
    [MB_STYLE_LUASOCKET] = "mb.luasocket",
    [MB_STYLE_TARANTOOL] = "mb.tarantool",
    [MB_STYLE_LUA_HTTP] = "mb.http_server",
};

/* The names on the command line. */
static const char *const names[] = {
    [MB_STYLE_LUASOCKET] = "luasocket",
    [MB_STYLE_TARANTOOL] = "tarantool",
    [MB_STYLE_LUA_HTTP] = "lua-http",
};

enum mb_style mb_style_find(const char *name) {
  for (size_t i = 1; i < sizeof names / sizeof *names; i++) {
    if (strcmp(name, names[i]) == 0) return (enum mb_style)i;
  }
  return MB_STYLE_NONE;
}

bool mb_style_prefers_installed(enum mb_style style) {
  return style == MB_STYLE_LUASOCKET || style == MB_STYLE_LUA_HTTP;
}

/* ---- running the program ---- */

static const char at_end_key; /* its address is the registry's key of style.at_end's function */

static void call_at_end(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &at_end_key) == LUA_TFUNCTION) lua_call(L, 0, 0);
}

/*
 * Replaces os.exit of a program. In a process of its own, the system would still send the output and then end
 * the connection. Ours would be reset, so it is closed first. Upvalue: the original os.exit.
 */
static int exit_program(lua_State *L) {
  mb_standin_close();
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, 0);
  return 0;
}

static void replace_exit(lua_State *L) {
  lua_getglobal(L, "os");
  lua_getfield(L, -1, "exit");
  lua_pushcclosure(L, exit_program, 1);
  lua_setfield(L, -2, "exit");
}

/*
 * The connect handler: runs the program. Upvalues: the program; the table arg; the style.
 * Throws the program's error; also when the program has ended and has not accepted the connection.
 */
static int run(lua_State *L) {
  enum mb_style style = (enum mb_style)lua_tointeger(L, lua_upvalueindex(3));
  lua_settop(L, 1);
  mb_standin_begin(L, names[style]);
  mb_libraries_open(L, MB_LIBRARIES_ALL); /* what is done to them is in no text */
  mb_lua51_open(L); /* before install(), which may add to what this does to the libraries */

  lua_getglobal(L, "require");
  lua_pushstring(L, modules[style]);
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "install");
  lua_call(L, 0, 0);

  lua_pushvalue(L, lua_upvalueindex(2));
  lua_setglobal(L, "arg");
  replace_exit(L);
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(1));
  int nargs = (int)lua_rawlen(L, lua_upvalueindex(2));
  luaL_checkstack(L, nargs, "too many arguments");
  for (int i = 1; i <= nargs; i++) lua_rawgeti(L, lua_upvalueindex(2), i);
  lua_call(L, nargs, 1);
  bool is_handler = lua_isfunction(L, -1);
  lua_pop(L, 1);
  call_at_end(L);
  if (mb_standin_taken()) return 0;
  const struct mb_addr *local = mb_standin_local();
  char came[MB_ADDR_LABEL_MAX];
  mb_addr_label(local, came);
  lua_rawgeti(L, lua_upvalueindex(2), 0);
  return luaL_error(
      L, "%s: the program has ended, and has not accepted the connection%s%s%s",
      lua_tostring(L, -1), local->len ? " to " : "", local->len ? came : "",
      is_handler ? "; it has returned a function: a connect handler is started without --style"
                 : "");
}

/*
 * Replaces a program and its arguments by the connect handler. The stack has, from index `path` on, the
 * program's path, the compiled program, and its arguments.
 */
static void wrap(lua_State *L, enum mb_style style, int path, int nargs) {
  lua_createtable(L, nargs, 2);
  lua_insert(L, path + 2);
  for (int i = nargs; i >= 1; i--) lua_rawseti(L, path + 2, i);
  lua_pushliteral(L, "mb-handle");
  lua_rawseti(L, path + 2, -1);
  lua_pushvalue(L, path);
  lua_rawseti(L, path + 2, 0);
  lua_pushinteger(L, style);
  lua_pushcclosure(L, run, 3);
}

bool mb_style_is_program(lua_State *L, int connect) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, connect);
  bool is_program = lua_tocfunction(L, -1) == run;
  lua_pop(L, 1);
  return is_program;
}

void mb_style_wrap(lua_State *L, enum mb_style style, const char *path, char **args, int nargs) {
  luaL_checkstack(L, nargs + 4, "too many arguments");
  lua_pushstring(L, path);
  lua_insert(L, -2);
  int at = lua_gettop(L) - 1;
  for (int i = 0; i < nargs; i++) lua_pushstring(L, args[i]);
  wrap(L, style, at, nargs);
  lua_remove(L, at);
}

/* ---- for Lua ---- */

/* style.active(): returns whether a program runs with --style. */
static int style_active(lua_State *L) {
  lua_pushboolean(L, mb_standin_active());
  return 1;
}

/* style.pending(): returns whether nobody has accepted the connection yet. */
static int style_pending(lua_State *L) {
  lua_pushboolean(L, mb_standin_pending());
  return 1;
}

/* style.serving(): returns whether the program has accepted the connection, and it is still open. */
static int style_serving(lua_State *L) {
  lua_pushboolean(L, mb_standin_serving());
  return 1;
}

/* style.take(): accepts: the first call for a connection returns its socket object, later ones nil. */
static int style_take(lua_State *L) {
  if (!mb_standin_take(L)) lua_pushnil(L);
  return 1;
}

/* style.fd(): returns the connection's descriptor; -1 when the connection is closed. */
static int style_fd(lua_State *L) {
  lua_pushinteger(L, mb_standin_fd());
  return 1;
}

/* style.over(): returns whether the program has accepted the connection, and it has ended. */
static int style_over(lua_State *L) {
  lua_pushboolean(L, mb_standin_over(L));
  return 1;
}

/*
 * style.source()
 * Returns a descriptor that is readable when it is time to call style.next, as another connection may come after this
 * one; nil when none comes.
 */
static int style_source(lua_State *L) {
  int fd = mb_standin_source_fd();
  if (fd < 0) return 0;
  lua_pushinteger(L, fd);
  return 1;
}

/*
 * style.next([seconds])
 * Ends the connection that was accepted, if it has not ended, and waits for another; nil: without a limit. Returns
 * whether one can be taken.
 */
static int style_next(lua_State *L) {
  lua_Number seconds = luaL_optnumber(L, 1, -1);
  bool limited = seconds >= 0 && seconds < MB_SECONDS_MAX;
  lua_pushboolean(
      L, mb_standin_next(L, limited ? mb_now_usec() + mb_usec_of(seconds) : MB_NO_DEADLINE));
  return 1;
}

/* style.turn(wait): see mb_standin_turn; wait is the table or userdata that the program waits for. */
static int style_turn(lua_State *L) {
  luaL_checkany(L, 1);
  mb_standin_turn(L, lua_topointer(L, 1));
  return 0;
}

/* style.finish(): ends the program. Does not return. */
static int style_finish(lua_State *L) { mb_standin_exit(L); }

/* style.at_end(f): calls f when the program's chunk has returned. */
static int style_at_end(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &at_end_key);
  return 0;
}

static int push_refusal(lua_State *L, const char *message) {
  lua_pushnil(L);
  lua_pushstring(L, message);
  return 2;
}

static int claim_path(lua_State *L) {
  struct mb_addr addr;
  char message[MB_STANDIN_MESSAGE_MAX];
  int r = mb_addr_from_path(lua_tostring(L, 1), &addr);
  if (r < 0) return push_refusal(L, strerror(-r));
  if (!mb_standin_claims(&addr, message)) return push_refusal(L, message);
  lua_pushboolean(L, 1);
  return 1;
}

/*
 * style.claims(host, port), style.claims(path)
 * Returns true when that is where the connection came in; otherwise nil and a message for the program.
 * host is a name or an address; "*" and "" mean every address. port is a number; 0 means any.
 */
static int style_claims(lua_State *L) {
  const char *host = luaL_checkstring(L, 1);
  if (lua_isnoneornil(L, 2)) return claim_path(L);
  lua_Integer number = luaL_checkinteger(L, 2);
  luaL_argcheck(L, number >= 0 && number <= 65535, 2, "expected a port, 0 to 65535");
  char port[8], message[MB_STANDIN_MESSAGE_MAX], wanted[NI_MAXHOST + 16];
  struct addrinfo *list;
  snprintf(port, sizeof port, "%d", (int)number);
  if (*host == '\0' || strcmp(host, "*") == 0) host = "0.0.0.0";
  int code = mb_resolve(host, port, true, &list);
  if (code == EAI_SYSTEM) return push_refusal(L, strerror(errno));
  if (code != 0) return push_refusal(L, MB_RARE(gai_strerror)(code));
  bool found = false;
  for (const struct addrinfo *a = list; a && !found; a = a->ai_next) {
    struct mb_addr addr = {.len = a->ai_addrlen};
    memcpy(&addr.storage, a->ai_addr, a->ai_addrlen);
    found = mb_standin_is(&addr);
  }
  MB_RARE(freeaddrinfo)(list);
  if (!found) {
    snprintf(wanted, sizeof wanted, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    mb_standin_refuse(wanted, message);
    return push_refusal(L, message);
  }
  lua_pushboolean(L, 1);
  return 1;
}

/*
 * style.bound(host, port)
 * Returns the host and the port of the listener that the program sees: the port is the true one, also for 0.
 */
static int style_bound(lua_State *L) {
  uint16_t port = mb_addr_port(mb_standin_local());
  lua_settop(L, 2);
  if (port) {
    lua_pushinteger(L, port);
    lua_replace(L, 2);
  }
  return 2;
}

static const char
    path_key; /* its address is the registry's key of the program's path, which stays */

/*
 * style.program(library, path, ...)
 * Compiles a program. Returns a connect handler that runs it with the arguments, as --style does. From now on
 * require finds the modules beside the program.
 */
static int style_program(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  enum mb_style style = mb_style_find(name);
  if (style == MB_STYLE_NONE) {
    lua_pushfstring(L, "expected " MB_STYLE_NAMES ", got \"%s\"", name);
    return luaL_argerror(L, 1, lua_tostring(L, -1));
  }
  const char *path = luaL_checkstring(L, 2);
  int nargs = lua_gettop(L) - 2;
  for (int i = 1; i <= nargs; i++) luaL_checkstring(L, 2 + i);
  if (luaL_loadfile(L, path) != LUA_OK) return luaL_error(L, "%s", lua_tostring(L, -1));
  mb_state_add_directory(L, path, mb_style_prefers_installed(style));
  lua_pushvalue(L, 2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &path_key);
  mb_state_of(L)->script = path;
  lua_insert(L, 3);
  wrap(L, style, 2, nargs);
  return 1;
}

static const luaL_Reg functions[] = {
    {"active", style_active},   {"at_end", style_at_end},   {"bound", style_bound},
    {"claims", style_claims},   {"fd", style_fd},           {"finish", style_finish},
    {"next", style_next},       {"over", style_over},       {"pending", style_pending},
    {"program", style_program}, {"serving", style_serving}, {"source", style_source},
    {"take", style_take},       {"turn", style_turn},       {NULL, NULL},
};

int mb_style_open(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}
