/* Output of a response: the gathered bytes go, framed, into the socket's queue and to the client. */
#include "api/http/http_response_output.h"

#include <string.h>

#include "api/http/http_input.h"
#include "api/http/http_request_log.h"
#include "api/http/http_response_head.h"
#include "http/http_number.h"
#include "socket/handle_methods.h"
#include "state/state.h"

/* A write waits for the client when more than this is queued. */
#define QUEUE_MAX_BYTES 65536

void mb_http_response_append(lua_State *L, struct mb_buf *to, const char *text, size_t size) {
  size_t room;
  mb_state_reserve(L, to, size);
  memcpy(mb_buf_room(to, &room), text, size);
  mb_buf_added(to, size);
}

void mb_http_response_append_text(lua_State *L, struct mb_buf *to, const char *text) {
  mb_http_response_append(L, to, text, strlen(text));
}

void mb_http_response_free_gathered(lua_State *L, struct mb_http_response *r) {
  mb_buf_free(&r->head, mb_state_alloc(L));
  mb_buf_free(&r->body, mb_state_alloc(L));
}

void mb_http_response_queue(lua_State *L, struct mb_handle *h, const char *bytes, size_t size) {
  if (mb_handle_queue(L, h, bytes, size) < 0) mb_state_no_memory(L);
}

/* Queues gathered bytes, and empties their buffer. */
static void queue_gathered(lua_State *L, struct mb_handle *h, struct mb_buf *from) {
  if (mb_buf_len(from) == 0) return;
  mb_http_response_queue(L, h, mb_buf_bytes(from), mb_buf_len(from));
  mb_buf_take(from, mb_buf_len(from));
}

/* Calls a method of the connection with the argument on top of the stack, and pops the argument. */
static void call_wire(lua_State *L, const char *method, lua_KFunction then) {
  lua_getfield(L, 1, "_wire");
  lua_getfield(L, -1, method);
  lua_rotate(L, -3, 1);
  lua_insert(L, -2);
  lua_callk(L, 2, 0, 0, then);
}

void mb_http_response_drain(lua_State *L, lua_Integer most, lua_KFunction then) {
  lua_pushinteger(L, most);
  call_wire(L, "drain", then);
}

int mb_http_response_nothing_more(lua_State *L, int status, lua_KContext ctx) {
  (void)L;
  (void)status;
  (void)ctx;
  return 0;
}

/* Tells the request log that the head goes out. The stack is that of a method. */
static void log_head(lua_State *L, const struct mb_http_response *r) {
  mb_http_response_push_of_wire(L, "input");
  mb_http_request_log_head(mb_http_input_at(L, -1), r->code, mb_buf_len(&r->head));
  lua_pop(L, 1);
}

int mb_http_response_handed_over(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  if (!mb_http_request_log_is_on()) return 0;
  const struct mb_http_response *r = luaL_checkudata(L, 2, MB_HTTP_RESPONSE_TYPE);
  if (r->code == 101) return 0; /* its line comes when the connection ends */
  mb_http_response_push_of_wire(L, "input");
  uint64_t sent = r->is_head || mb_http_response_is_bodyless(r) ? 0 : r->sent;
  mb_http_request_log_done(mb_http_input_at(L, -1), &sent);
  return 0;
}

void mb_http_response_emit(lua_State *L, struct mb_http_response *r, int data, bool flush,
                           unsigned next, lua_KFunction then) {
  r->state = MB_HTTP_RESPONSE_BROKEN;
  mb_http_response_push_of_wire(L, "socket");
  struct mb_handle *h = mb_handle_at(L, -1);
  mb_handle_check_output(L, h);
  size_t size = mb_buf_len(&r->body) + (data ? lua_rawlen(L, data) : 0);
  if (r->head_pending) {
    r->head_pending = false;
    if (mb_http_request_log_is_on() && next != MB_HTTP_RESPONSE_START) log_head(L, r);
    queue_gathered(L, h, &r->head);
  }
  if (r->chunked && size > 0) {
    char line[MB_HTTP_CHUNK_SIZE_MAX];
    mb_http_response_queue(L, h, line, mb_http_chunk_size_line(line, size));
  }
  queue_gathered(L, h, &r->body);
  lua_pushcfunction(L, flush ? mb_handle_method_flush_nb : mb_handle_method_write_nb);
  lua_insert(L, -2);
  if (data) {
    lua_pushvalue(L, data);
  } else {
    lua_pushliteral(L, "");
  }
  bool last = next == MB_HTTP_RESPONSE_FINISHED;
  lua_pushstring(L, !r->chunked        ? ""
                    : size > 0 && last ? "\r\n0\r\n\r\n"
                    : last             ? "0\r\n\r\n"
                    : size > 0         ? "\r\n"
                                       : "");
  lua_call(L, 3, 2);
  if (lua_isnil(L, -2)) call_wire(L, "lose", NULL); /* throws */
  r->state = next;
  if (last) mb_http_response_free_gathered(L, r);
  lua_Integer most = flush ? 0 : QUEUE_MAX_BYTES;
  bool wait = lua_tointeger(L, -2) > most;
  lua_pop(L, 2);
  if (wait) mb_http_response_drain(L, most, then);
}

void mb_http_response_emit_body(lua_State *L, struct mb_http_response *r, int data, bool flush,
                                lua_KFunction then) {
  r->state = MB_HTTP_RESPONSE_BROKEN;
  if (r->head_pending) mb_http_response_end_head(L, r, NULL);
  mb_http_response_emit(L, r, data, flush, MB_HTTP_RESPONSE_BODY, then);
}
