/*
 * The response writer. It sends as late as possible, so that a small response goes out in one piece, with
 * its length.
 */
#include "api/http/http_response.h"

#include <lauxlib.h>
#include <stdint.h>

#include "api/http/http_response_head.h"
#include "api/http/http_response_output.h"
#include "api/http/http_response_state.h"
#include "http/http_date.h"
#include "http/http_number.h"
#include "socket/handle.h"
#include "state/lazy_functions.h"

static struct mb_http_response *response_at(lua_State *L, int index) {
  return luaL_checkudata(L, index, MB_HTTP_RESPONSE_TYPE);
}

int mb_http_response_new(lua_State *L) {
  struct mb_http_response *r = lua_newuserdata(L, sizeof *r);
  *r = (struct mb_http_response){
      .state = MB_HTTP_RESPONSE_START,
      .is_head = lua_toboolean(L, 1),
      .minor = (int)luaL_checkinteger(L, 2),
      .keepalive = lua_toboolean(L, 3),
      .minimum = (size_t)luaL_checkinteger(L, 4),
      .handle = mb_handle_at(L, 5),
      .has_body = lua_toboolean(L, 6),
      .head = MB_BUF_INIT,
      .body = MB_BUF_INIT,
  };
  luaL_setmetatable(L, MB_HTTP_RESPONSE_TYPE);
  lua_pushvalue(L, 5);
  lua_setuservalue(L, -2);
  return 1;
}

static int response_gc(lua_State *L) {
  mb_http_response_free_gathered(L, response_at(L, 1));
  return 0;
}

/* Throws when the head is a 101 that names no protocol (RFC 9110, section 7.8). */
static void check_named(lua_State *L, const struct mb_http_response *r,
                        enum mb_http_response_call call) {
  if (r->code == 101 && r->head_pending && !r->upgrades) {
    mb_http_response_misused(L, call,
                             "a 101 has to name the protocol: send_header(\"Upgrade\", ...)");
  }
}

/*
 * request:finish_headers()
 * Source: reference, "request:finish_headers".
 */
static int finish_headers(lua_State *L) {
  struct mb_http_response *r = mb_http_response_enter(L, MB_HTTP_RESPONSE_FINISH_HEADERS);
  lua_settop(L, 2);
  check_named(L, r, MB_HTTP_RESPONSE_FINISH_HEADERS);
  if (r->interim) {
    mb_http_response_end_interim(L, r, mb_http_response_nothing_more);
  } else if (r->head_pending) {
    mb_http_response_emit_body(L, r, 0, true, mb_http_response_nothing_more);
  } else {
    r->state = MB_HTTP_RESPONSE_BODY;
  }
  return 0;
}

/* ---- the body ---- */

/* Throws when the body may not have `size` bytes more. */
static void check_size(lua_State *L, const struct mb_http_response *r,
                       enum mb_http_response_call call, uint64_t size) {
  if (r->interim) {
    mb_http_response_misused(L, call,
                             "an interim response has no body: request:finish_headers ends it");
  }
  if (r->is_head) return;
  if (size > 0 && mb_http_response_is_bodyless(r)) {
    mb_http_response_misused(L, call, "a %d response has no body", r->code);
  }
  if (r->has_length && size > r->length - r->sent) {
    mb_http_response_misused(L, call, "%I bytes of body, but Content-Length is %I%s",
                             (LUAI_UACINT)(r->sent + size), (LUAI_UACINT)r->length,
                             r->length_of_file
                                 ? ", as send_file has set it: call request:finish_headers "
                                   "before, where more is to follow the file"
                                 : "");
  }
}

/*
 * Throws when the value at index is no text: what tostring makes of it would be "nil", or an address, and
 * so a mistake in the script that nobody sees but the client.
 */
static void check_text(lua_State *L, int index) {
  int type = lua_type(L, index);
  if (type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TBOOLEAN) return;
  bool is_file = luaL_testudata(L, index, LUA_FILEHANDLE) != NULL;
  if (!is_file && luaL_getmetafield(L, index, "__tostring") != LUA_TNIL) {
    lua_pop(L, 1);
    return;
  }
  mb_http_response_misused(
      L, MB_HTTP_RESPONSE_SEND_DATA,
      "argument %d: expected a string, a number or a boolean, or an object with "
      "__tostring, got %s%s",
      index - 1, is_file ? "a file" : luaL_typename(L, index),
      is_file ? ": request:send_file sends it" : "");
}

/* Joins the arguments after the request to one string at index 2. May run the script's code. */
static void concatenate(lua_State *L) {
  int top = lua_gettop(L);
  if (top == 2 && lua_type(L, 2) == LUA_TSTRING) return;
  for (int i = 2; i <= top; i++) check_text(L, i);
  for (int i = 2; i <= top; i++) {
    luaL_tolstring(L, i, NULL);
    lua_replace(L, i);
  }
  lua_concat(L, top > 1 ? top - 1 : 0);
}

/*
 * request:send_data(...)
 * The arguments are converted as tostring does it, and concatenated. nil, and what has no text but an
 * address, is an error.
 * Source: reference, "request:send_data".
 */
static int send_data(lua_State *L) {
  if (lua_istable(L, 1)) concatenate(L);
  struct mb_http_response *r = mb_http_response_enter(L, MB_HTTP_RESPONSE_SEND_DATA);
  size_t size;
  const char *data = lua_tolstring(L, 3, &size);
  check_size(L, r, MB_HTTP_RESPONSE_SEND_DATA, size);
  r->state = MB_HTTP_RESPONSE_BROKEN;
  r->sent += size;
  if (r->is_head || size == 0) {
    r->state = MB_HTTP_RESPONSE_BODY;
  } else if (mb_buf_len(&r->body) + size >= r->minimum) {
    mb_http_response_emit_body(L, r, 3, false, mb_http_response_nothing_more);
  } else {
    mb_http_response_append(L, &r->body, data, size);
    r->state = MB_HTTP_RESPONSE_BODY;
  }
  return 0;
}

/*
 * request:flush()
 * Source: reference, "request:flush".
 */
static int flush(lua_State *L) {
  struct mb_http_response *r = mb_http_response_enter(L, MB_HTTP_RESPONSE_FLUSH);
  lua_settop(L, 2);
  if (r->state == MB_HTTP_RESPONSE_BODY) {
    check_named(L, r, MB_HTTP_RESPONSE_FLUSH);
    mb_http_response_emit_body(L, r, 0, true, mb_http_response_nothing_more);
  } else {
    mb_http_response_drain(L, 0, mb_http_response_nothing_more);
  }
  return 0;
}

/*
 * request:finish()
 * Source: reference, "request:finish".
 */
static int finish(lua_State *L) {
  struct mb_http_response *r = mb_http_response_enter(L, MB_HTTP_RESPONSE_FINISH);
  lua_settop(L, 2);
  if (r->state == MB_HTTP_RESPONSE_FINISHED) {
    /* An error may have ended an earlier wait for the client. */
    mb_http_response_push_of_wire(L, "socket");
    if (mb_handle_at(L, -1)->out.len > 0)
      mb_http_response_drain(L, 0, mb_http_response_handed_over);
    return mb_http_response_handed_over(L, LUA_OK, 0);
  }
  check_size(L, r, MB_HTTP_RESPONSE_FINISH, 0);
  check_named(L, r, MB_HTTP_RESPONSE_FINISH);
  if (r->has_length && r->sent != r->length && !r->is_head && !mb_http_response_is_bodyless(r)) {
    return mb_http_response_misused(L, MB_HTTP_RESPONSE_FINISH,
                                    "%I bytes of body, but Content-Length is %I",
                                    (LUAI_UACINT)r->sent, (LUAI_UACINT)r->length);
  }
  if (r->code == 101 && !r->head_pending) {
    r->state = MB_HTTP_RESPONSE_FINISHED; /* the connection is the script's */
    return 0;
  }
  r->state = MB_HTTP_RESPONSE_BROKEN;
  /* A script that knows of HEAD sends no body, so that the size of a body is unknown. */
  bool known = !(r->is_head && r->sent == 0);
  if (r->head_pending) mb_http_response_end_head(L, r, known ? &r->sent : NULL);
  mb_http_response_emit(L, r, 0, true, MB_HTTP_RESPONSE_FINISHED, mb_http_response_handed_over);
  return mb_http_response_handed_over(L, LUA_OK, 0);
}

/*
 * request:close_after_finish()
 * Source: reference, "request:close_after_finish".
 */
static int close_after_finish(lua_State *L) {
  mb_http_response_end_connection(L,
                                  mb_http_response_enter(L, MB_HTTP_RESPONSE_CLOSE_AFTER_FINISH));
  return 0;
}

/* ---- for the Lua modules ---- */

int mb_http_response_date(lua_State *L) {
  lua_pushstring(L, mb_http_date_line());
  return 1;
}

/* request:_begin_monologue(): close_after_finish under another name. */
static int begin_monologue(lua_State *L) {
  mb_http_response_end_connection(L, mb_http_response_enter(L, MB_HTTP_RESPONSE_MONOLOGUE));
  return 0;
}

/* request:_check_file(): throws when request:send_file may not be called now. */
static int check_file(lua_State *L) {
  mb_http_response_enter(L, MB_HTTP_RESPONSE_SEND_FILE);
  return 0;
}

/* Sets Content-Length to the size of a file that seems to be the whole body. */
static void set_length(lua_State *L, struct mb_http_response *r, uint64_t size) {
  char line[MB_HTTP_LENGTH_LINE_MAX];
  bool whole = r->head_pending && !r->interim && !r->has_length && r->sent == 0;
  if (!whole || mb_http_response_is_bodyless(r)) return;
  r->state = MB_HTTP_RESPONSE_BROKEN;
  mb_http_response_append(L, &r->head, line, mb_http_length_line(line, size));
  r->has_length = r->length_of_file = true;
  r->length = size;
}

/* Begins the bytes of a file, after all output before them. Stack: request, response, size of the file. */
static int begin_file_bytes(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  struct mb_http_response *r = response_at(L, 2);
  uint64_t size = (uint64_t)lua_tointeger(L, 3);
  /* A stream handler may have sent something while the method has waited. */
  if (r->state != MB_HTTP_RESPONSE_BODY)
    mb_http_response_refuse_state(L, MB_HTTP_RESPONSE_SEND_FILE, r->state);
  check_size(L, r, MB_HTTP_RESPONSE_SEND_FILE, size);
  r->state = MB_HTTP_RESPONSE_BROKEN;
  r->sent += size;
  if (r->chunked) {
    char line[MB_HTTP_CHUNK_SIZE_MAX];
    mb_http_response_push_of_wire(L, "socket");
    mb_http_response_queue(L, mb_handle_at(L, -1), line, mb_http_chunk_size_line(line, size));
  }
  r->state = MB_HTTP_RESPONSE_FILE;
  lua_pushboolean(L, 1);
  return 1;
}

/*
 * request:_begin_file(size)
 * Announces `size` bytes of body, and sends everything that comes before them. Returns true when the caller
 * has to send the bytes by itself; nothing else can be sent then until request:_end_file().
 */
static int begin_file(lua_State *L) {
  struct mb_http_response *r = mb_http_response_enter(L, MB_HTTP_RESPONSE_SEND_FILE);
  uint64_t size = (uint64_t)luaL_checkinteger(L, 3);
  check_size(L, r, MB_HTTP_RESPONSE_SEND_FILE, size);
  set_length(L, r, size);
  if (r->is_head || size == 0) {
    r->sent += size;
    r->state = MB_HTTP_RESPONSE_BODY;
    return 0;
  }
  mb_http_response_emit_body(L, r, 0, false, begin_file_bytes);
  return begin_file_bytes(L, LUA_OK, 0);
}

/* request:_end_file(): goes on with the response after all bytes of the file were sent. */
static int end_file(lua_State *L) {
  struct mb_http_response *r = mb_http_response_enter(L, MB_HTTP_RESPONSE_END_FILE);
  r->state = MB_HTTP_RESPONSE_BROKEN;
  if (r->chunked) {
    mb_http_response_push_of_wire(L, "socket");
    mb_http_response_queue(L, mb_handle_at(L, -1), "\r\n", 2);
  }
  r->state = MB_HTTP_RESPONSE_BODY;
  return 0;
}

/*
 * response:state()
 * Returns "start" (no status was sent), "begun" or "finished"; whether the response is interim; how many
 * bytes of body were sent so far.
 */
static int response_state(lua_State *L) {
  const struct mb_http_response *r = response_at(L, 1);
  lua_pushstring(L, r->state == MB_HTTP_RESPONSE_START      ? "start"
                    : r->state == MB_HTTP_RESPONSE_FINISHED ? "finished"
                                                            : "begun");
  lua_pushboolean(L, r->interim);
  lua_pushinteger(L, (lua_Integer)r->sent);
  return 3;
}

/*
 * response:has_left()
 * Returns whether a part of the final response may have gone out, so that it cannot be taken back any more.
 */
static int has_left(lua_State *L) {
  const struct mb_http_response *r = response_at(L, 1);
  lua_pushboolean(L, r->state != MB_HTTP_RESPONSE_START && !r->head_pending);
  return 1;
}

/* response:is_whole(): returns whether the response is finished, and the connection still carries HTTP. */
static int is_whole(lua_State *L) {
  const struct mb_http_response *r = response_at(L, 1);
  lua_pushboolean(L, r->state == MB_HTTP_RESPONSE_FINISHED && r->code != 101);
  return 1;
}

/* response:keeps_connection(): returns whether the connection may be used again. */
static int keeps_connection(lua_State *L) {
  lua_pushboolean(L, response_at(L, 1)->keepalive);
  return 1;
}

/*
 * response:is_faulty(): returns whether the response cannot be completed: the script has closed or reset the
 * connection, a write has failed, or an error has interrupted a step.
 */
static int is_faulty(lua_State *L) {
  const struct mb_http_response *r = response_at(L, 1);
  lua_pushboolean(L, !mb_handle_is_open(r->handle) || r->handle->out_error != 0 ||
                         r->state == MB_HTTP_RESPONSE_BROKEN);
  return 1;
}

/* A new method that every response may need has a function, a row here, a row in `calls`, and a test. */
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
    {"send_header", mb_http_response_send_header},
    {"send_status", mb_http_response_send_status},
    {NULL, NULL},
};

int mb_http_response_methods(lua_State *L) {
  luaL_newlib(L, request_methods);
  return 1;
}

static const luaL_Reg methods[] = {
    {"has_left", has_left},    {"is_faulty", is_faulty},
    {"is_whole", is_whole},    {"keeps_connection", keeps_connection},
    {"state", response_state}, {NULL, NULL},
};

void mb_http_response_open(lua_State *L) {
  luaL_newmetatable(L, MB_HTTP_RESPONSE_TYPE);
  lua_pushcfunction(L, response_gc);
  lua_setfield(L, -2, "__gc");
  mb_lazy_functions_table(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
