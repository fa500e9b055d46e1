/*
 * The stand-in for a listener: a program that binds, listens and accepts gets the one connection that we
 * were started for, and in a pool one connection after another. api/mb/style.h decides which program that is.
 */
#ifndef MB_STANDIN_H
#define MB_STANDIN_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

/*
 * A program begins to run: the socket object on top of the stack, which is popped, stands in for its
 * listener from now on.
 * style  the option's value, for messages
 */
void mb_standin_begin(lua_State *L, const char *style);

/* Forgets the connection, and the source of others: the program has ended. */
void mb_standin_forget(void);

/* ---- one connection after another ---- */

/* Where further connections of a program come from, in a process that may serve more than one (the pool). */
struct mb_standin_source {
  int fd; /* for poll(2): readable when it is time to call next; -1: no other connection comes */
  bool is_one; /* all connections come in on the same address */
  /*
   * Ends all that belongs to the connection before, whose handle is closed, and waits for another.
   * deadline  monotonic microseconds, or MB_NO_DEADLINE
   * Returns 1 with the socket object on the stack; 0 at the deadline; -1 when no other will come.
   */
  int (*next)(lua_State *L, int64_t deadline, void *context);
  void *context;
};

/* Names the source for the program that begins next. It stays where it is. */
void mb_standin_continue(const struct mb_standin_source *source);

/*
 * Returns the source's descriptor; -1 when the program gets no other connection: there is no source, or it has
 * ended, or the program listens on one address of several.
 */
int mb_standin_source_fd(void);

/*
 * Ends the connection that was accepted, if it has not ended, and waits for another, which stands in for the listener
 * then. Does nothing when the program has not accepted the one that waits.
 * deadline  monotonic microseconds, or MB_NO_DEADLINE
 * Returns whether a connection can be accepted. Otherwise mb_standin_source_fd tells whether one may come later.
 */
bool mb_standin_next(lua_State *L, int64_t deadline);

/* ---- the listener ---- */

/* Returns whether such a program runs; if not, bind, listen and accept do what they usually do. */
bool mb_standin_active(void);

/* Returns where the connection came in; len 0 in a replay. */
const struct mb_addr *mb_standin_local(void);

#define MB_STANDIN_MESSAGE_MAX 640

/*
 * Returns whether an address is the one where the connection came in: it has the same port, or 0 for any,
 * and the same address, or stands for every address ("0.0.0.0" and "::" both do). In a replay every
 * address is. The caller is about to listen there.
 */
bool mb_standin_is(const struct mb_addr *wanted);

/* Writes the message for a program that binds elsewhere; `wanted` is its address as text. */
void mb_standin_refuse(const char *wanted, char ret_message[MB_STANDIN_MESSAGE_MAX]);

/* Returns mb_standin_is. When that is false, writes the message too. */
bool mb_standin_claims(const struct mb_addr *wanted, char ret_message[MB_STANDIN_MESSAGE_MAX]);

/* Writes the address of the listener that the program sees: the one it has asked for, with the true port. */
void mb_standin_bound(const struct mb_addr *wanted, struct mb_addr *ret);

/* Returns the connection's descriptor, for a listener that is asked for its own; -1 when it is closed. */
int mb_standin_fd(void);

/* Returns whether nobody has accepted the connection yet. */
bool mb_standin_pending(void);

/*
 * Accepts. The first call pushes the connection's socket object and returns true; later ones push nothing
 * and return false.
 */
bool mb_standin_take(lua_State *L);

/* Returns whether the program has accepted the connection. */
bool mb_standin_taken(void);

/* Returns whether the program has accepted the connection, and it is still open. */
bool mb_standin_serving(void);

/* Notes that the program listens where the connection came in. */
void mb_standin_listen(void);

/* Returns whether mb_standin_listen was called. */
bool mb_standin_listens(void);

/*
 * Returns whether the connection was accepted and has ended. A program that has dropped the connection
 * without closing it has ended it, too: collects its garbage now and then to find out. May throw.
 */
bool mb_standin_over(lua_State *L);

/*
 * Returns whether the accepted connection has nothing left to wait for: the end of its input was read, and all
 * output was sent. Otherwise waits for its input, at most 10 ms, so that a program that asks a closed listener
 * again and again does not take a whole processor.
 */
bool mb_standin_idle(void);

/*
 * Called by a wait that is over at once, as no connection can come any more. The program gets one more turn,
 * so that it can do what it does between two connections: when it comes to the same wait again, the process
 * ends, or, if the program has not accepted the connection, an error is thrown.
 * wait  the address of what the program waits for
 */
void mb_standin_turn(lua_State *L, const void *wait);

/*
 * A program begins to pause: it sleeps, or waits for a listener to which nobody can come. Once the connection is
 * over, all pauses together may take 60 seconds, as a program that does nothing but pause would stay for ever.
 * deadline  monotonic microseconds, or MB_NO_DEADLINE
 * Returns when the pause must end: at the deadline or earlier. May throw.
 */
int64_t mb_standin_pause(lua_State *L, int64_t deadline);

/* The pause has ended. Ends the process when the pauses have taken all of their time. */
void mb_standin_paused(lua_State *L);

/* Ends the connection in a healthy way, if it is still open. */
void mb_standin_close(void);

/*
 * Ends the process, as the one connection that the program could accept is done: closes the connection
 * and the Lua state. The exit status is 0.
 */
_Noreturn void mb_standin_exit(lua_State *L);

#endif
