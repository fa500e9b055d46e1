/*
 * --style: a server program written for another library runs unchanged. The one connection stands in for the
 * program's listener: bind to its address succeeds without binding, the first accept returns it, and the
 * program ends where the next accept would wait.
 */
#ifndef MB_STYLE_H
#define MB_STYLE_H

#include <lua.h>
#include <stdbool.h>

/* The library for which a program was written. */
enum mb_style {
  MB_STYLE_NONE, /* none: the program is a script for mb-handle itself */
  MB_STYLE_LUASOCKET,
  MB_STYLE_TARANTOOL,
  MB_STYLE_LUA_HTTP,
};

/* Returns the style of a name; MB_STYLE_NONE when there is no such library. */
enum mb_style mb_style_find(const char *name);

/*
 * Returns whether the programs of a style expect that require prefers an installed module to a file of that
 * name beside them, as lua does; tarantool looks beside them first.
 */
bool mb_style_prefers_installed(enum mb_style style);

/* All names in the order of the enum: the choices of --style, and for a message. */
#define MB_STYLE_NAMES "luasocket, tarantool or lua-http"

/*
 * Replaces the program, a function on top of the stack, by a connect handler that runs it. May throw.
 * path, args  for the program's global table arg
 */
void mb_style_wrap(lua_State *L, enum mb_style style, const char *path, char **args, int nargs);

/* Returns whether a function, a key of the registry, is a connect handler that mb_style_wrap made. */
bool mb_style_is_program(lua_State *L, int connect);

/*
 * Pushes the module mb.style, for interfaces written in Lua: active(), claims(host, port), claims(path),
 * bound(host, port), pending(), take(), serving(), fd(), finish(), at_end(f), program(library, path, ...).
 */
int mb_style_open(lua_State *L);

#endif
