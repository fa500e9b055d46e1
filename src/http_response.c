/*
 * The response writer. What a script says goes out as late as possible: a response that is small goes
 * out in one piece, with its length.
 */
#include "http_response.h"

#include <lauxlib.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "handle_methods.h"
#include "http_date.h"
#include "http_response_state.h"
#include "state.h"

/* Output that may be queued before a write waits for the client. */
#define QUEUE_MAX_BYTES 65536

static struct mb_response *response_at(lua_State *L, int index) {
  return luaL_checkudata(L, index, MB_RESPONSE_TYPE);
}

int mb_http_response_new(lua_State *L) {
  struct mb_response *r = lua_newuserdata(L, sizeof *r);
  *r = (struct mb_response){
      .state = MB_RESPONSE_START,
      .is_head = lua_toboolean(L, 1),
      .minor = (int)luaL_checkinteger(L, 2),
      .keepalive = lua_toboolean(L, 3),
      .minimum = (size_t)luaL_checkinteger(L, 4),
      .head = MB_BUF_INIT,
      .body = MB_BUF_INIT,
  };
  luaL_setmetatable(L, MB_RESPONSE_TYPE);
  return 1;
}

static int response_gc(lua_State *L) {
  struct mb_response *r = response_at(L, 1);
  mb_buf_free(&r->head, mb_state_alloc(L));
  mb_buf_free(&r->body, mb_state_alloc(L));
  return 0;
}

/* ---- output ---- */

/* Queues bytes. Throws when memory runs out, after garbage was collected. */
static void queue(lua_State *L, struct mb_handle *h, const char *bytes, size_t size) {
  if (size == 0 || mb_wqueue_append(&h->out, h->alloc, bytes, size) == 0) return;
  mb_handle_collect(L, h);
  mb_handle_check_output(L, h); /* a finalizer may have finished it */
  if (mb_wqueue_append(&h->out, h->alloc, bytes, size) < 0) luaL_error(L, "not enough memory");
}

/* Queues what was gathered, and empties it. */
static void queue_gathered(lua_State *L, struct mb_handle *h, struct mb_buf *from) {
  if (mb_buf_len(from) == 0) return;
  queue(L, h, mb_buf_bytes(from), mb_buf_len(from));
  mb_buf_take(from, mb_buf_len(from));
}

/* Calls a method of the connection with the argument on top of the stack; pops that. */
static void call_wire(lua_State *L, const char *method) {
  lua_getfield(L, 1, "_wire");
  lua_getfield(L, -1, method);
  lua_insert(L, -2);
  lua_pushvalue(L, -3);
  lua_call(L, 2, 0);
  lua_pop(L, 1);
}

/*
 * Sends what was gathered, and a string behind it, as a chunk where the body is chunked.
 * data   index of the string, or 0
 * flush  nothing stays queued
 * next   the state that follows, once nothing can get lost any more; the body ends with
 *        MB_RESPONSE_FINISHED
 */
static void emit(lua_State *L, struct mb_response *r, int data, bool flush, unsigned next) {
  r->state = MB_RESPONSE_BROKEN;
  mb_response_push_of_wire(L, "socket");
  struct mb_handle *h = mb_handle_at(L, -1);
  mb_handle_check_output(L, h);
  size_t size = mb_buf_len(&r->body) + (data ? lua_rawlen(L, data) : 0);
  if (r->head_pending) {
    r->head_pending = false;
    queue_gathered(L, h, &r->head);
  }
  if (r->chunked && size > 0) {
    char line[24];
    queue(L, h, line, (size_t)snprintf(line, sizeof line, "%zx\r\n", size));
  }
  queue_gathered(L, h, &r->body);
  lua_pushcfunction(L, flush ? mb_handle_method_flush_nb : mb_handle_method_write_nb);
  lua_insert(L, -2);
  if (data) {
    lua_pushvalue(L, data);
  } else {
    lua_pushliteral(L, "");
  }
  bool last = next == MB_RESPONSE_FINISHED;
  lua_pushstring(L, !r->chunked        ? ""
                    : size > 0 && last ? "\r\n0\r\n\r\n"
                    : last             ? "0\r\n\r\n"
                    : size > 0         ? "\r\n"
                                       : "");
  lua_call(L, 3, 2);
  if (lua_isnil(L, -2)) call_wire(L, "lose"); /* throws */
  r->state = next;
  lua_Integer most = flush ? 0 : QUEUE_MAX_BYTES;
  bool wait = lua_tointeger(L, -2) > most;
  lua_pop(L, 2);
  if (!wait) return;
  lua_pushinteger(L, most);
  call_wire(L, "drain");
}

/* Sends what was gathered, now or soon; ends the head for a body whose size is not known. */
static void emit_gathered(lua_State *L, struct mb_response *r, int data, bool flush) {
  r->state = MB_RESPONSE_BROKEN;
  if (r->head_pending) mb_response_end_head(L, r, NULL);
  emit(L, r, data, flush, MB_RESPONSE_BODY);
}

/* HTTP/1.0 knows no interim responses. */
void mb_response_end_interim(lua_State *L, struct mb_response *r) {
  r->state = MB_RESPONSE_BROKEN;
  r->interim = r->dated = false;
  if (r->code == 100) {
    lua_getfield(L, 1, "_wire");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "expects");
    lua_pop(L, 1);
  }
  if (r->minor == 0) {
    r->head_pending = false;
    mb_buf_take(&r->head, mb_buf_len(&r->head));
    r->state = MB_RESPONSE_START;
    return;
  }
  mb_response_append_text(L, &r->head, "\r\n");
  emit(L, r, 0, true, MB_RESPONSE_START);
}

/*
 * request:finish_headers()
 * Source: reference, "request:finish_headers".
 */
static int finish_headers(lua_State *L) {
  struct mb_response *r = mb_response_enter(L, MB_RESPONSE_FINISH_HEADERS);
  lua_settop(L, 2);
  if (r->interim) {
    mb_response_end_interim(L, r);
  } else if (r->head_pending) {
    emit_gathered(L, r, 0, true);
  } else {
    r->state = MB_RESPONSE_BODY;
  }
  return 0;
}

/* ---- the body ---- */

/* Throws when so many bytes more may not be sent. */
static void check_size(lua_State *L, const struct mb_response *r, enum mb_response_call call,
                       uint64_t size) {
  if (r->interim) {
    mb_response_misused(L, call, "an interim response has no body: request:finish_headers ends it");
  }
  if (r->is_head) return;
  if (size > 0 && mb_response_is_bodyless(r)) {
    mb_response_misused(L, call, "a %d response has no body", r->code);
  }
  if (r->has_length && size > r->length - r->sent) {
    mb_response_misused(L, call, "%I bytes of body, but Content-Length is %I%s",
                        (LUAI_UACINT)(r->sent + size), (LUAI_UACINT)r->length,
                        r->length_of_file
                            ? ", as send_file has set it: call request:finish_headers "
                              "before, where more is to follow the file"
                            : "");
  }
}

/* Makes one string of all arguments behind the request, at index 2. May run the script's code. */
static void concatenate(lua_State *L) {
  int top = lua_gettop(L);
  if (top == 2 && lua_type(L, 2) == LUA_TSTRING) return;
  for (int i = 2; i <= top; i++) {
    luaL_tolstring(L, i, NULL);
    lua_replace(L, i);
  }
  lua_concat(L, top > 1 ? top - 1 : 0);
}

/*
 * request:send_data(...)
 * Source: reference, "request:send_data".
 */
static int send_data(lua_State *L) {
  if (lua_istable(L, 1)) concatenate(L);
  struct mb_response *r = mb_response_enter(L, MB_RESPONSE_SEND_DATA);
  size_t size;
  const char *data = lua_tolstring(L, 3, &size);
  check_size(L, r, MB_RESPONSE_SEND_DATA, size);
  r->state = MB_RESPONSE_BROKEN;
  r->sent += size;
  if (r->is_head || size == 0) {
    r->state = MB_RESPONSE_BODY;
  } else if (mb_buf_len(&r->body) + size >= r->minimum) {
    emit_gathered(L, r, 3, false);
  } else {
    mb_response_append(L, &r->body, data, size);
    r->state = MB_RESPONSE_BODY;
  }
  return 0;
}

/*
 * request:flush()
 * Source: reference, "request:flush".
 */
static int flush(lua_State *L) {
  struct mb_response *r = mb_response_enter(L, MB_RESPONSE_FLUSH);
  lua_settop(L, 2);
  if (r->state == MB_RESPONSE_BODY) {
    emit_gathered(L, r, 0, true);
  } else {
    lua_pushinteger(L, 0);
    call_wire(L, "drain");
  }
  return 0;
}

/*
 * request:finish()
 * Source: reference, "request:finish".
 */
static int finish(lua_State *L) {
  struct mb_response *r = mb_response_enter(L, MB_RESPONSE_FINISH);
  lua_settop(L, 2);
  if (r->state == MB_RESPONSE_FINISHED) {
    /* The wait for the client may have been cut off by an error. */
    mb_response_push_of_wire(L, "socket");
    if (mb_handle_at(L, -1)->out.len == 0) return 0;
    lua_pushinteger(L, 0);
    call_wire(L, "drain");
    return 0;
  }
  check_size(L, r, MB_RESPONSE_FINISH, 0);
  if (r->has_length && r->sent != r->length && !r->is_head && !mb_response_is_bodyless(r)) {
    return mb_response_misused(L, MB_RESPONSE_FINISH, "%I bytes of body, but Content-Length is %I",
                               (LUAI_UACINT)r->sent, (LUAI_UACINT)r->length);
  }
  if (r->code == 101 && !r->head_pending) {
    r->state = MB_RESPONSE_FINISHED; /* the connection is the script's */
    return 0;
  }
  r->state = MB_RESPONSE_BROKEN;
  /* A script that knows HEAD sends nothing: that says nothing of the size. */
  bool known = !(r->is_head && r->sent == 0);
  if (r->head_pending) mb_response_end_head(L, r, known ? &r->sent : NULL);
  emit(L, r, 0, true, MB_RESPONSE_FINISHED);
  return 0;
}

/*
 * request:close_after_finish()
 * Source: reference, "request:close_after_finish".
 */
static int close_after_finish(lua_State *L) {
  mb_response_end_connection(L, mb_response_enter(L, MB_RESPONSE_CLOSE_AFTER_FINISH));
  return 0;
}

/* ---- for the Lua modules ---- */

int mb_http_date(lua_State *L) {
  lua_pushstring(L, mb_http_date_line());
  return 1;
}

/* request:_begin_monologue(): close_after_finish under another name. */
static int begin_monologue(lua_State *L) {
  mb_response_end_connection(L, mb_response_enter(L, MB_RESPONSE_MONOLOGUE));
  return 0;
}

/* request:_check_file(): throws when request:send_file may not be called now. */
static int check_file(lua_State *L) {
  mb_response_enter(L, MB_RESPONSE_SEND_FILE);
  return 0;
}

/* What is known of the size of a body that is one file. */
static void set_length(lua_State *L, struct mb_response *r, uint64_t size) {
  char line[48];
  bool whole = r->head_pending && !r->interim && !r->has_length && r->sent == 0;
  if (!whole || mb_response_is_bodyless(r)) return;
  r->state = MB_RESPONSE_BROKEN;
  snprintf(line, sizeof line, "Content-Length: %ju\r\n", (uintmax_t)size);
  mb_response_append_text(L, &r->head, line);
  r->has_length = r->length_of_file = true;
  r->length = size;
}

/*
 * request:_begin_file(size)
 * So many bytes of body follow, which the caller sends by itself, if this returns true: sends what
 * comes before them. Nothing else can be sent until request:_end_file().
 */
static int begin_file(lua_State *L) {
  struct mb_response *r = mb_response_enter(L, MB_RESPONSE_SEND_FILE);
  uint64_t size = (uint64_t)luaL_checkinteger(L, 3);
  check_size(L, r, MB_RESPONSE_SEND_FILE, size);
  set_length(L, r, size);
  if (r->is_head || size == 0) {
    r->sent += size;
    r->state = MB_RESPONSE_BODY;
    return 0;
  }
  emit_gathered(L, r, 0, false);
  /* While that waited, a stream handler may have sent something. */
  if (r->state != MB_RESPONSE_BODY) mb_response_refuse_state(L, MB_RESPONSE_SEND_FILE, r->state);
  check_size(L, r, MB_RESPONSE_SEND_FILE, size);
  r->state = MB_RESPONSE_BROKEN;
  r->sent += size;
  if (r->chunked) {
    char line[24];
    mb_response_push_of_wire(L, "socket");
    queue(L, mb_handle_at(L, -1), line,
          (size_t)snprintf(line, sizeof line, "%jx\r\n", (uintmax_t)size));
  }
  r->state = MB_RESPONSE_FILE;
  lua_pushboolean(L, 1);
  return 1;
}

/* request:_end_file(): all bytes of the file were sent. */
static int end_file(lua_State *L) {
  struct mb_response *r = mb_response_enter(L, MB_RESPONSE_END_FILE);
  r->state = MB_RESPONSE_BROKEN;
  if (r->chunked) {
    mb_response_push_of_wire(L, "socket");
    queue(L, mb_handle_at(L, -1), "\r\n", 2);
  }
  r->state = MB_RESPONSE_BODY;
  return 0;
}

/*
 * response:state()
 * Returns "start" (no status was sent), "begun", "finished", or "upgraded" when it is finished
 * and the connection another protocol's; whether it is interim; how many bytes of body were sent so far.
 */
static int response_state(lua_State *L) {
  const struct mb_response *r = response_at(L, 1);
  lua_pushstring(L, r->state == MB_RESPONSE_START      ? "start"
                    : r->state != MB_RESPONSE_FINISHED ? "begun"
                    : r->code == 101                   ? "upgraded"
                                                       : "finished");
  lua_pushboolean(L, r->interim);
  lua_pushinteger(L, (lua_Integer)r->sent);
  return 3;
}

/* response:has_left(): whether some of the response, which is not an interim one, may have gone out:
 * it cannot be taken back any more. */
static int has_left(lua_State *L) {
  const struct mb_response *r = response_at(L, 1);
  lua_pushboolean(L, r->state != MB_RESPONSE_START && !r->head_pending);
  return 1;
}

/* response:keeps_connection() */
static int keeps_connection(lua_State *L) {
  lua_pushboolean(L, response_at(L, 1)->keepalive);
  return 1;
}

/* A new method that every response may need is a function, a row here and in `calls`, and a test. */
static const luaL_Reg request_methods[] = {
    {"_begin_file", begin_file},
    {"_begin_monologue", begin_monologue},
    {"_check_file", check_file},
    {"_end_file", end_file},
    {"close_after_finish", close_after_finish},
    {"finish", finish},
    {"finish_headers", finish_headers},
    {"flush", flush},
    {"send_data", send_data},
    {"send_header", mb_response_send_header},
    {"send_status", mb_response_send_status},
    {NULL, NULL},
};

int mb_http_response_methods(lua_State *L) {
  luaL_newlib(L, request_methods);
  return 1;
}

static const luaL_Reg methods[] = {
    {"has_left", has_left},
    {"keeps_connection", keeps_connection},
    {"state", response_state},
    {NULL, NULL},
};

void mb_http_response_open(lua_State *L) {
  luaL_newmetatable(L, MB_RESPONSE_TYPE);
  lua_pushcfunction(L, response_gc);
  lua_setfield(L, -2, "__gc");
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
