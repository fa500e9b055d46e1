/*
 * Puts the connection in the place of a listener that a program for another library makes. Nothing here
 * binds, listens or accepts.
 */
#include "socket/standin.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/exits.h"
#include "base/fdio.h"
#include "base/match.h"
#include "socket/handle.h"
#include "socket/timeout.h"
#include "state/state.h"

/* How many waits of a program return once more after the connection has ended. */
#define TURNS_MAX 8

/* A program that polls has its garbage collected once a second, and for at most a twentieth of its time. */
#define COLLECT_USEC  1000000
#define COLLECT_SHARE 20

/* So long a program waits for its connection when it asks a closed listener. */
#define IDLE_USEC 10000

/* So long all pauses of a program together may take after the connection has ended. */
#define PAUSES_USEC 60000000

static struct {
  const char *style;        /* as --style names the library */
  struct mb_handle *handle; /* the connect handler's argument keeps it; NULL: no program runs */
  struct mb_addr local;     /* the true address, whatever a PROXY header says; len 0 in a replay */
  bool taken;
  bool listens;                 /* a listener of the program has the connection's address */
  bool every;                   /* one that takes connections to every address */
  int64_t collect_at;           /* monotonic microseconds: the garbage is not collected before */
  const void *turns[TURNS_MAX]; /* the waits that have returned after the connection's end */
  size_t nturns;
  int64_t pause_began; /* monotonic microseconds; 0: no pause after the connection's end */
  int64_t paused;      /* so many microseconds such pauses have taken */
} standin;

static const struct mb_standin_source *source; /* NULL: no other connection comes */

static const char connection_key; /* its address is the registry's key of the socket object */

/* The socket object on top of the stack, which is popped, stands in for the listener. */
static void put_in(lua_State *L) {
  standin.handle = mb_handle_at(L, -1);
  if (!mb_handle_is_replay(standin.handle)) {
    struct mb_addr remote;
    /* When the client has gone (ENOTCONN), this still fills local. */
    mb_addr_of(mb_handle_fd(standin.handle), &standin.local, &remote);
  }
  lua_rawsetp(L, LUA_REGISTRYINDEX, &connection_key);
}

void mb_standin_begin(lua_State *L, const char *style) {
  memset(&standin, 0, sizeof standin);
  standin.style = style;
  put_in(L);
}

void mb_standin_forget(void) {
  memset(&standin, 0, sizeof standin);
  source = NULL;
}

void mb_standin_continue(const struct mb_standin_source *s) { source = s; }

int mb_standin_source_fd(void) {
  return standin.handle && source && (source->is_one || standin.every) ? source->fd : -1;
}

bool mb_standin_next(lua_State *L, int64_t deadline) {
  if (mb_standin_pending()) return true;
  if (mb_standin_source_fd() < 0) return false;
  mb_standin_close();
  int r = source->next(L, deadline, source->context);
  if (r < 0) source = NULL;
  standin.nturns = 0;
  standin.paused = 0;
  if (r <= 0) return false;
  put_in(L);
  standin.taken = false;
  return true;
}

bool mb_standin_active(void) { return standin.handle != NULL; }

bool mb_standin_pending(void) { return standin.handle && !standin.taken; }

bool mb_standin_taken(void) { return standin.taken; }

bool mb_standin_serving(void) { return standin.taken && mb_handle_is_open(standin.handle); }

void mb_standin_listen(void) { standin.listens = true; }

bool mb_standin_listens(void) { return standin.listens; }

static void collect(lua_State *L) {
  int64_t begun = mb_now_usec();
  if (begun < standin.collect_at) return;
  lua_gc(L, LUA_GCCOLLECT, 0);
  int64_t ended = mb_now_usec();
  standin.collect_at = ended + COLLECT_USEC + COLLECT_SHARE * (ended - begun);
}

bool mb_standin_over(lua_State *L) {
  if (mb_standin_serving()) collect(L);
  return standin.taken && !mb_standin_serving();
}

bool mb_standin_idle(void) {
  struct mb_handle *h = standin.handle;
  if (h->in_eof && mb_buf_len(&h->in) == 0 && h->out.len == 0) return true;
  mb_handle_wait(h, POLLIN, false, mb_now_usec() + IDLE_USEC);
  return false;
}

void mb_standin_turn(lua_State *L, const void *wait) {
  bool again = standin.nturns == TURNS_MAX;
  for (size_t i = 0; i < standin.nturns && !again; i++) again = standin.turns[i] == wait;
  if (!again) {
    standin.turns[standin.nturns++] = wait;
  } else if (standin.taken) {
    mb_standin_exit(L);
  } else {
    luaL_error(L, "the program has closed its listener, and has not accepted the connection");
  }
}

int64_t mb_standin_pause(lua_State *L, int64_t deadline) {
  standin.pause_began = 0;
  if (!mb_standin_over(L)) return deadline;
  standin.pause_began = mb_now_usec();
  int64_t last = standin.pause_began + PAUSES_USEC - standin.paused;
  return deadline < last ? deadline : last;
}

void mb_standin_paused(lua_State *L) {
  if (standin.pause_began == 0) return;
  standin.paused += mb_now_usec() - standin.pause_began;
  standin.pause_began = 0;
  if (standin.paused >= PAUSES_USEC) mb_standin_exit(L);
}

int mb_standin_fd(void) {
  if (!standin.handle) return -1;
  mb_handle_keep_no_byte(standin.handle); /* the program may wait there by itself */
  return mb_handle_fd(standin.handle);
}

const struct mb_addr *mb_standin_local(void) { return &standin.local; }

bool mb_standin_take(lua_State *L) {
  if (!mb_standin_pending()) return false;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &connection_key);
  standin.taken = true;
  return true;
}

void mb_standin_close(void) {
  if (standin.handle) mb_handle_end(standin.handle, true);
}

_Noreturn void mb_standin_exit(lua_State *L) {
  mb_standin_close();
  mb_timeout_limit_finalizers(true);
  mb_state_close(L);
  exit(MB_EXIT_OK);
}

bool mb_standin_is(const struct mb_addr *wanted) {
  const struct mb_addr *local = &standin.local;
  char path[sizeof wanted->local.sun_path + 1];
  if (local->len == 0) return true;
  if (wanted->any.sa_family == AF_UNIX)
    return mb_addr_path(wanted, path) > 0 && mb_match_path(path, local);
  if (local->any.sa_family == AF_UNIX) return false;
  uint16_t port = mb_addr_port(wanted);
  if (port && port != mb_addr_port(local)) return false;
  if (!mb_addr_is_every(wanted)) return mb_match_address(wanted, local);
  standin.every = true;
  return true;
}

void mb_standin_refuse(const char *wanted, char message[MB_STANDIN_MESSAGE_MAX]) {
  char came[MB_ADDR_LABEL_MAX];
  mb_addr_label(&standin.local, came);
  snprintf(
      message, MB_STANDIN_MESSAGE_MAX,
      "cannot bind to %.256s: the connection came in on %s, and with --style=%s a program serves "
      "nothing else",
      wanted, came, standin.style);
}

bool mb_standin_claims(const struct mb_addr *wanted, char ret_message[MB_STANDIN_MESSAGE_MAX]) {
  if (mb_standin_is(wanted)) return true;
  char text[MB_ADDR_LABEL_MAX];
  mb_addr_label(wanted, text);
  mb_standin_refuse(text, ret_message);
  return false;
}

void mb_standin_bound(const struct mb_addr *wanted, struct mb_addr *ret) {
  struct mb_addr bound = *wanted;
  uint16_t port = mb_addr_port(&standin.local);
  if (port) mb_addr_set_port(&bound, port);
  *ret = bound;
}
