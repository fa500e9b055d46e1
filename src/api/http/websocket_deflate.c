/* permessage-deflate (RFC 7692) of a WebSocket: what was agreed on, and messages that come and go compressed. */
#include <errno.h>
#include <string.h>

#include "api/http/websocket.h"
#include "base/log.h"
#include "state/state.h"

/* Room for what is decompressed is asked for in such steps at least. */
enum { ROOM_MIN = 1024 };

/* ---- what is agreed on ---- */

/* The terms as one number, which a script passes from core.agree to core.over. */
enum { BITS_MASK = 15, CLIENT_SHIFT = 4, SERVER_FORGETS = 1 << 8, CLIENT_FORGETS = 1 << 9 };

static lua_Integer number_of(const struct mb_websocket_terms *terms) {
  return terms->server.bits | terms->client.bits << CLIENT_SHIFT |
         (terms->server.no_context_takeover ? SERVER_FORGETS : 0) |
         (terms->client.no_context_takeover ? CLIENT_FORGETS : 0);
}

/* In a sandbox, too, the loader says that there is no such file. */
#define HINT                                                                                      \
  " (Debian has it in the package zlib1g; in a sandbox, require mb.websocket before the handler " \
  "runs)"

/* Returns whether zlib is there. Says once in the life of a process why it is not. */
static bool has_library(void) {
  static bool told;
  const char *why = mb_zlib_load();
  if (why && !told)
    mb_log(LOG_WARNING, "websocket: messages are not compressed: %s%s", why,
           strstr(why, "libz.so") ? HINT : "");
  told = told || why;
  return !why;
}

/*
 * core.agree(offers, bits, no_context_takeover)
 * offers: the value of Sec-WebSocket-Extensions; those of several lines with commas between them. bits: of the largest
 * window that we wish for. no_context_takeover: whether we wish that.
 * Returns the value of that field for the response, and the terms for core.over; nil when nothing is agreed on; false
 * when the value is malformed.
 */
int mb_websocket_agree_on(lua_State *L) {
  struct mb_span offers;
  offers.data = luaL_checklstring(L, 1, &offers.size);
  lua_Integer bits = luaL_checkinteger(L, 2);
  luaL_argcheck(L, bits > MB_WEBSOCKET_BITS_MIN && bits <= MB_WEBSOCKET_BITS_MAX, 2, "9 to 15");
  struct mb_websocket_offer first, other;
  int r = mb_websocket_offer_next(&offers, &first);
  int last = r;
  while (last > 0) last = mb_websocket_offer_next(&offers, &other);
  if (last < 0) {
    lua_pushboolean(L, 0);
    return 1;
  }
  if (r == 0 || !has_library()) return 0;
  struct mb_websocket_terms terms;
  char answer[MB_WEBSOCKET_ANSWER_SIZE];
  mb_websocket_agree(&first, (unsigned)bits, lua_toboolean(L, 3), &terms, answer);
  lua_pushstring(L, answer);
  lua_pushinteger(L, number_of(&terms));
  return 2;
}

/* Reads the terms at an index, and behind them the size from which on messages are compressed. nil: there are none. */
void mb_websocket_set_terms(lua_State *L, int index, struct mb_websocket *w) {
  if (lua_isnoneornil(L, index)) return;
  lua_Integer terms = luaL_checkinteger(L, index);
  w->min_size = (uint64_t)luaL_checkinteger(L, index + 1);
  w->ours = (struct mb_websocket_side){terms & SERVER_FORGETS, terms & BITS_MASK};
  w->theirs = (struct mb_websocket_side){terms & CLIENT_FORGETS, terms >> CLIENT_SHIFT & BITS_MASK};
  w->deflates = true;
}

/* ---- messages that come ---- */

/* Makes the inflater. Returns false when it had to collect garbage: finalizers may have changed everything. */
static bool has_inflater(lua_State *L, struct mb_websocket *w) {
  struct mb_alloc *alloc = w->over.handle->alloc;
  if (w->inflater) return true;
  w->inflater = mb_zlib_inflater(alloc, w->theirs.bits);
  if (w->inflater) return true;
  lua_gc(L, LUA_GCCOLLECT, 0);
  if (w->inflater || w->state == MB_WEBSOCKET_CLOSED) return false;
  w->inflater = mb_zlib_inflater(alloc, w->theirs.bits);
  if (!w->inflater) mb_state_no_memory(L);
  return false;
}

enum mb_websocket_inflated mb_websocket_inflate(lua_State *L, struct mb_websocket *w,
                                                const char *data, size_t size, size_t *ret_used,
                                                size_t *ret_made) {
  size_t room;
  if (!has_inflater(L, w) || mb_state_reserve(L, &w->message, ROOM_MIN))
    return MB_WEBSOCKET_DISTURBED;
  char *to = mb_buf_room(&w->message, &room);
  uint64_t allowed = w->max_message - mb_buf_len(&w->message);
  if (room > allowed) room = (size_t)allowed + 1;
  int r = mb_zlib_inflate(w->inflater, data, size, to, room, ret_used, ret_made);
  if (r == -ENOMEM) mb_state_no_memory(L);
  mb_buf_added(&w->message, *ret_made);
  return r < 0 ? MB_WEBSOCKET_NO_DEFLATE : MB_WEBSOCKET_INFLATED;
}

bool mb_websocket_inflate_end(struct mb_websocket *w) {
  bool whole = mb_zlib_is_at_end(w->inflater);
  if (w->theirs.no_context_takeover) {
    mb_zlib_free(w->inflater);
    w->inflater = NULL;
  }
  return whole;
}

/* ---- messages that go ---- */

void mb_websocket_deflate_lost(struct mb_websocket *w) {
  mb_zlib_free(w->deflater);
  w->deflater = NULL;
}

bool mb_websocket_deflate(struct mb_websocket *w, const char *data, size_t size) {
  struct mb_alloc *alloc = w->over.handle->alloc;
  if (!w->deflates || size == 0 || size < w->min_size) return false;
  if (!w->deflater) w->deflater = mb_zlib_deflater(alloc, w->ours.bits);
  if (!w->deflater) return false;
  mb_buf_free(&w->packed, alloc);
  int r = mb_zlib_deflate(w->deflater, data, size, &w->packed);
  if (r < 0) mb_buf_free(&w->packed, alloc);
  if (r < 0 || w->ours.no_context_takeover) mb_websocket_deflate_lost(w);
  return r == 0;
}

void mb_websocket_deflate_done(struct mb_websocket *w) {
  mb_buf_free(&w->packed, w->over.handle->alloc);
}

void mb_websocket_deflate_end(struct mb_websocket *w) {
  mb_websocket_deflate_lost(w);
  mb_zlib_free(w->inflater);
  w->inflater = NULL;
}
