/* The WebSocket object: its life. Takes a connection over after the 101 of its handshake. */
#include "api/http/websocket.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/websocket_key.h"
#include "state/object.h"
#include "state/state.h"

struct mb_websocket *mb_websocket_at(lua_State *L, int index) {
  return luaL_checkudata(L, index, MB_WEBSOCKET_TYPE);
}

void mb_websocket_lose(struct mb_websocket *w, const char *why) {
  if (w->state == MB_WEBSOCKET_CLOSED) return;
  w->state = MB_WEBSOCKET_CLOSED;
  mb_websocket_deflate_end(w);
  snprintf(w->wrong, sizeof w->wrong, "%s", why);
}

void mb_websocket_break(lua_State *L, struct mb_websocket *w, unsigned code, const char *why) {
  char peer[MB_ADDR_LABEL_MAX];
  struct mb_handle *h = w->over.handle;
  if (w->state == MB_WEBSOCKET_CLOSED) return;
  mb_addr_peer_label(mb_handle_fd(h), &h->remote, peer);
  mb_log(LOG_INFO, "websocket: %u: %s (%s %s)", code, why, w->is_client ? "server" : "client",
         peer);
  bool open = w->state == MB_WEBSOCKET_OPEN;
  mb_websocket_lose(w, why);
  w->close_code = code;
  if (open) mb_websocket_send_close(L, w, code, NULL, 0);
}

/* ---- the type ---- */

static int websocket_gc(lua_State *L) {
  struct mb_websocket *w = mb_websocket_at(L, 1);
  if (w->over.handle) {
    mb_buf_free(&w->message, w->over.handle->alloc);
    mb_websocket_deflate_done(w);
    mb_websocket_deflate_end(w);
  }
  w->state = MB_WEBSOCKET_CLOSED;
  return 0;
}

/* Returns the name of the state. Without its socket, a WebSocket is closed, even if it has not met that yet. */
static const char *name_of(const struct mb_websocket *w) {
  static const char *const names[] = {"open", "closing", "closed"};
  return names[mb_handle_is_open(w->over.handle) ? w->state : MB_WEBSOCKET_CLOSED];
}

static int websocket_tostring(lua_State *L) {
  lua_pushfstring(L, "websocket (%s)", name_of(mb_websocket_at(L, 1)));
  return 1;
}

static void push_state(lua_State *L, const void *object) { lua_pushstring(L, name_of(object)); }

static void push_code(lua_State *L, const void *object) {
  const struct mb_websocket *w = object;
  if (w->state == MB_WEBSOCKET_CLOSED || !mb_handle_is_open(w->over.handle)) {
    lua_pushinteger(L, (lua_Integer)(w->close_code ? w->close_code : MB_WEBSOCKET_LOST));
  } else {
    lua_pushnil(L);
  }
}

static void push_reason(lua_State *L, const void *object) {
  const struct mb_websocket *w = object;
  lua_pushlstring(L, w->close_reason, w->close_reason_size);
}

static const struct mb_attribute attributes[] = {
    {"close_code", push_code},
    {"close_reason", push_reason},
    {"state", push_state},
    {NULL, NULL},
};

static const luaL_Reg *const methods[] = {mb_websocket_receive_methods, mb_websocket_send_methods,
                                          NULL};

static const struct mb_object_type type = {
    MB_WEBSOCKET_TYPE, MB_WEBSOCKET_TYPE, websocket_gc, websocket_tostring, methods, attributes,
};

static const char anchor; /* its address is the key of the socket in the user value */

/* A time that rounds to nothing is still one: 0 would be none. */
static int64_t usec_at(lua_State *L, int index) {
  if (!lua_toboolean(L, index)) return 0;
  int64_t usec = mb_usec_of(luaL_checknumber(L, index));
  return usec > 0 ? usec : 1;
}

/*
 * core.over(socket, is_client, max_message, ping_interval, close_timeout, send_timeout[, terms, min_size])
 * Times are in seconds; false: none. terms: those of core.agree, of a server. min_size: fewer bytes are not compressed.
 * Returns a WebSocket over a connection whose handshake is over.
 */
static int over(lua_State *L) {
  struct mb_handle *h = mb_handle_at(L, 1);
  lua_settop(L, 8);
  struct mb_websocket *w = lua_newuserdata(L, sizeof *w);
  memset(w, 0, sizeof *w);
  w->message = w->packed = MB_BUF_INIT;
  w->is_client = lua_toboolean(L, 2);
  w->max_message = (uint64_t)luaL_checkinteger(L, 3);
  w->ping_interval = usec_at(L, 4);
  w->close_timeout = usec_at(L, 5);
  w->send_timeout = usec_at(L, 6);
  mb_websocket_set_terms(L, 7, w);
  w->heard = mb_now_usec();
  mb_handle_keep_no_byte(h); /* a close shows the end */
  w->over.handle = h;
  mb_object_push_type(L, &type);
  mb_handle_over_mark(L);
  lua_setmetatable(L, -2);
  lua_createtable(L, 0, 2);
  lua_pushvalue(L, 1);
  lua_rawsetp(L, -2, &anchor);
  lua_pushvalue(L, 1);
  lua_setfield(L, -2, "socket");
  lua_setuservalue(L, -2);
  return 1;
}

/* core.accept(key): returns the Sec-WebSocket-Accept for a Sec-WebSocket-Key; nil when that is no key. */
static int accept_key(lua_State *L) {
  struct mb_span key;
  char text[MB_WEBSOCKET_ACCEPT_SIZE];
  key.data = luaL_checklstring(L, 1, &key.size);
  if (!mb_websocket_is_key(key)) return 0;
  mb_websocket_accept(key, text);
  lua_pushlstring(L, text, sizeof text);
  return 1;
}

/* core.is_text(data): returns whether a string is UTF-8, as a text message is. */
static int is_text(lua_State *L) {
  struct mb_utf8 utf8 = {0};
  size_t size;
  const char *data = luaL_checklstring(L, 1, &size);
  lua_pushboolean(L, mb_utf8_take(&utf8, data, size) && mb_utf8_is_whole(&utf8));
  return 1;
}

static const luaL_Reg functions[] = {
    {"accept", accept_key}, {"agree", mb_websocket_agree_on}, {"is_text", is_text}, {"over", over},
    {NULL, NULL},
};

static bool is_open; /* a script has the module */

int mb_websocket_open(lua_State *L) {
  luaL_newlib(L, functions);
  is_open = true;
  return 1;
}

void mb_websocket_before_lock(void) {
  if (is_open) mb_zlib_load(); /* a failure shows when a client offers to compress */
}
