/*
 * The _call and _yield forms. They run the non-blocking form in a loop, and call the script's function
 * whenever it is blocked. That function may yield, so a loop keeps what it knows on the Lua stack, never
 * in a C variable.
 */
#include <lauxlib.h>

#include "socket/handle_methods.h"
#include "state/state.h"

/* ---- read: socket, waitfunc, maxlen, terminator ---- */

static int read_loop(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  for (;;) {
    lua_settop(L, 4);
    struct mb_handle *h = mb_handle_for_input(L);
    struct mb_read_request request = mb_read_request_at(L, 3);
    struct mb_read_result result;
    int r = mb_handle_fill(L, h, &request, false, &result);
    if (r < 0) return mb_handle_push_error(L, h, r);
    if (result.status != MB_READ_BLOCK) return mb_handle_push_read(L, h, &result);
    h->in_short = true;
    lua_pushvalue(L, 2);
    lua_callk(L, 0, 0, 0, read_loop);
  }
}

/*
 * socket:read_call(waitfunc, maxlen, terminator): works as read; calls waitfunc() as long as reading is
 * blocked.
 */
static int method_read_call(lua_State *L) {
  mb_handle_for_input(L);
  mb_state_check_callable(L, 2);
  return read_loop(L, LUA_OK, 0);
}

/* socket:read_yield(maxlen, terminator) */
static int method_read_yield(lua_State *L) {
  mb_read_request_at(L, 2); /* checks them while they stand where the script put them */
  mb_state_insert_yield(L, 2);
  return method_read_call(L);
}

/* ---- drain: socket, waitfunc, maxlen, terminator, number of bytes so far ---- */

static int drain_loop(lua_State *L, int call_status, lua_KContext ctx) {
  (void)call_status;
  (void)ctx;
  for (;;) {
    lua_settop(L, 5);
    struct mb_handle *h = mb_handle_for_input(L);
    struct mb_read_request request = mb_read_request_at(L, 3);
    size_t count = (size_t)lua_tointeger(L, 5);
    enum mb_read_status status;
    int r = mb_handle_discard(L, h, &request, false, &count, &status);
    if (r < 0) return mb_handle_push_error(L, h, r);
    if (status != MB_READ_BLOCK) return mb_handle_push_count(L, count, status);
    lua_pushinteger(L, (lua_Integer)count);
    lua_replace(L, 5);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 1);
    lua_pushliteral(L, "r");
    lua_callk(L, 2, 0, 0, drain_loop);
  }
}

/*
 * socket:drain_call(waitfunc, maxlen, terminator): works as drain; calls waitfunc(socket, "r") as long as
 * reading is blocked.
 */
static int method_drain_call(lua_State *L) {
  mb_handle_for_input(L);
  mb_state_check_callable(L, 2);
  lua_settop(L, 4);
  lua_pushinteger(L, 0);
  return drain_loop(L, LUA_OK, 0);
}

/* socket:drain_yield(maxlen, terminator) */
static int method_drain_yield(lua_State *L) {
  mb_read_request_at(L, 2);
  mb_state_insert_yield(L, 2);
  return method_drain_call(L);
}

/* ---- write and flush: socket, waitfunc; ctx is the number of bytes that may stay queued ---- */

/* In a flush nothing may stay in the queue. A flush also waits until the socket is connected. */
static bool is_sent(const struct mb_handle *h, size_t may_stay) {
  return h->out_error == 0 && h->out.len <= may_stay && !(h->attempt && may_stay == 0);
}

static int send_loop(lua_State *L, int status, lua_KContext may_stay) {
  (void)status;
  for (;;) {
    lua_settop(L, 2);
    struct mb_handle *h = mb_handle_for_output(L);
    if (is_sent(h, (size_t)may_stay)) {
      lua_settop(L, 1);
      return 1;
    }
    int r = mb_handle_send_queue(h, false);
    if (r < 0) return mb_handle_push_error(L, h, r);
    if (is_sent(h, (size_t)may_stay)) continue;
    lua_pushvalue(L, 2);
    lua_callk(L, 0, 0, may_stay, send_loop);
  }
}

static int put_and_wait(lua_State *L, int mode, lua_KContext may_stay) {
  struct mb_handle *h = mb_handle_for_output(L);
  mb_state_check_callable(L, 2);
  int r = mb_handle_put(L, h, 3, mode);
  if (r < 0) return mb_handle_push_error(L, h, r);
  return send_loop(L, LUA_OK, may_stay);
}

/* socket:write_call(waitfunc, ...): works as write; calls waitfunc() as long as writing is blocked. */
static int method_write_call(lua_State *L) {
  return put_and_wait(L, MB_WRITE_BUFFER, MB_WRITE_SMALL_BYTES - 1);
}

/* socket:write_yield(...) */
static int method_write_yield(lua_State *L) {
  mb_handle_check_strings(L, 2);
  mb_state_insert_yield(L, 2);
  return method_write_call(L);
}

/* socket:flush_call(waitfunc, ...): works as flush; calls waitfunc() as long as writing is blocked. */
static int method_flush_call(lua_State *L) { return put_and_wait(L, MB_WRITE_FLUSH, 0); }

/* socket:flush_yield(...) */
static int method_flush_yield(lua_State *L) {
  mb_handle_check_strings(L, 2);
  mb_state_insert_yield(L, 2);
  return method_flush_call(L);
}

const luaL_Reg mb_handle_wait_methods[] = {
    {"drain_call", method_drain_call},
    {"drain_yield", method_drain_yield},
    {"flush_call", method_flush_call},
    {"flush_yield", method_flush_yield},
    {"read_call", method_read_call},
    {"read_yield", method_read_yield},
    {"write_call", method_write_call},
    {"write_yield", method_write_yield},
    {NULL, NULL},
};
