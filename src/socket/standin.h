/*
 * --style: a server program written for another library runs as it is. The one connection stands
 * where the program looks for a listener: the bind to its address succeeds without binding, the
 * first accept gives it, and where the next one would wait, the program ends.
 */
#ifndef MB_STYLE_H
#define MB_STYLE_H

#include <lua.h>
#include <stdbool.h>

#include "app/options.h"
#include "base/addr.h"

/*
 * Replaces the program, a function on top of the stack, by a connect handler that runs it. May throw.
 * path, args  what the global table arg is made of
 */
void mb_style_wrap(lua_State *L, enum mb_style style, const char *path, char **args, int nargs);

/* Returns whether a function, a key of the registry, is a connect handler that mb_style_wrap made. */
bool mb_style_is_program(lua_State *L, int connect);

/* Whether a program runs as it is; else bind, listen and accept do what they say. */
bool mb_style_active(void);

#define MB_STYLE_MESSAGE_MAX 640

/*
 * Whether an address that the program binds to is the one where the connection came in: the same
 * port, or 0 for any, and the same address, or every address ("0.0.0.0" and "::" both mean all). In a
 * replay every address is.
 * ret_message  when it is not: what the program is to be told, with both addresses in it
 */
bool mb_style_claims(const struct mb_addr *wanted, char ret_message[MB_STYLE_MESSAGE_MAX]);

/* The address of the listener that the program sees: as it has asked for, with the true port. */
void mb_style_bound(const struct mb_addr *wanted, struct mb_addr *ret);

/* The connection's descriptor, for a listener that is asked for its own; -1 when it is closed. */
int mb_style_fd(void);

/* Whether the connection was not accepted yet. */
bool mb_style_pending(void);

/* The first accept: pushes the connection's socket object. Returns false, nothing pushed, after that. */
bool mb_style_take(lua_State *L);

/* Whether the connection was accepted and is still open. */
bool mb_style_serving(void);

/*
 * Ends the program, as the one connection that it could accept is done: in a healthy way, if it is
 * still open; closes the Lua state; exit status 0.
 */
_Noreturn void mb_style_end(lua_State *L);

/*
 * The module mb.style, for interfaces written in Lua: active(), claims(host, port), claims(path),
 * bound(host, port), pending(), take(), serving(), finish(), at_end(f).
 */
int mb_style_open(lua_State *L);

#endif
