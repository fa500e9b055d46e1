/*
 * Decides whether a call of a response is allowed, and throws the message when it is not. Reads and sets the
 * fields of the request that the response writer needs.
 */
#include "api/http/http_response_state.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <string.h>

#include "api/http/http_input.h"

/* For each call: the states in which it is allowed, and how many callers above it the script's function is. */
static const struct {
  const char *name;
  unsigned allowed;
  int script;
} calls[] = {
    [MB_HTTP_RESPONSE_SEND_STATUS] = {"send_status", MB_HTTP_RESPONSE_START | MB_HTTP_RESPONSE_HEAD,
                                      1},
    [MB_HTTP_RESPONSE_SEND_HEADER] = {"send_header", MB_HTTP_RESPONSE_HEAD, 1},
    [MB_HTTP_RESPONSE_CLOSE_AFTER_FINISH] = {"close_after_finish",
                                             MB_HTTP_RESPONSE_START | MB_HTTP_RESPONSE_HEAD, 1},
    [MB_HTTP_RESPONSE_MONOLOGUE] = {"monologue", MB_HTTP_RESPONSE_START | MB_HTTP_RESPONSE_HEAD,
                                    2}, /* through mb.http.body */
    [MB_HTTP_RESPONSE_FINISH_HEADERS] = {"finish_headers",
                                         MB_HTTP_RESPONSE_HEAD | MB_HTTP_RESPONSE_BODY, 1},
    [MB_HTTP_RESPONSE_SEND_DATA] = {"send_data", MB_HTTP_RESPONSE_HEAD | MB_HTTP_RESPONSE_BODY, 1},
    [MB_HTTP_RESPONSE_SEND_FILE] = {"send_file", MB_HTTP_RESPONSE_HEAD | MB_HTTP_RESPONSE_BODY,
                                    2}, /* through mb.http.send_file */
    [MB_HTTP_RESPONSE_FLUSH] = {"flush",
                                MB_HTTP_RESPONSE_START | MB_HTTP_RESPONSE_HEAD |
                                    MB_HTTP_RESPONSE_BODY | MB_HTTP_RESPONSE_FINISHED,
                                1},
    [MB_HTTP_RESPONSE_FINISH] =
        {"finish", MB_HTTP_RESPONSE_HEAD | MB_HTTP_RESPONSE_BODY | MB_HTTP_RESPONSE_FINISHED, 1},
    [MB_HTTP_RESPONSE_END_FILE] = {"send_file", MB_HTTP_RESPONSE_FILE, 2},
};

/*
 * Pushes "script.lua:3: ", the line that has called at this level. Modules of ours that are in between, such as
 * mb.reply, are passed over: they are the functions whose source is not known (app/embed.c).
 */
static void push_where(lua_State *L, int level) {
  lua_Debug about;
  while (lua_getstack(L, level, &about) && lua_getinfo(L, "S", &about) &&
         strcmp(about.source, "=?") == 0) {
    level++;
  }
  luaL_where(L, level);
}

int mb_http_response_misused(lua_State *L, enum mb_http_response_call call, const char *format,
                             ...) {
  va_list arguments;
  va_start(arguments, format);
  push_where(L, calls[call].script);
  lua_pushfstring(L, "%s: ", calls[call].name);
  lua_pushvfstring(L, format, arguments);
  va_end(arguments);
  lua_concat(L, 3);
  return lua_error(L);
}

static int refuse_faulty(lua_State *L, enum mb_http_response_call call) {
  lua_getfield(L, 1, "_wire");
  lua_getfield(L, -1, "fault");
  const char *why = NULL;
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "message");
    why = lua_tostring(L, -1);
  }
  return mb_http_response_misused(L, call, "the request is faulty (%s)",
                                  why ? why : "see the error before");
}

int mb_http_response_refuse_state(lua_State *L, enum mb_http_response_call call, unsigned state) {
  const char *why =
      state == MB_HTTP_RESPONSE_START  ? "no status was sent yet: request:send_status comes first"
      : state == MB_HTTP_RESPONSE_HEAD ? "the status was sent already"
      : state == MB_HTTP_RESPONSE_BODY
          ? "the response head is finished: the status and the headers come first, before "
            "request:send_data, send_file and finish_headers"
      : state == MB_HTTP_RESPONSE_FINISHED ? "the response is finished"
      : state == MB_HTTP_RESPONSE_FILE     ? "a file is being sent, or could not be sent to its end"
                                           : "an error has left the response incomplete";
  return mb_http_response_misused(L, call, "%s", why);
}

struct mb_http_response *mb_http_response_enter(lua_State *L, enum mb_http_response_call call) {
  struct mb_http_response *r = NULL;
  if (lua_istable(L, 1)) {
    lua_getfield(L, 1, "_response");
    r = luaL_testudata(L, -1, MB_HTTP_RESPONSE_TYPE);
    lua_insert(L, 2);
    lua_pushliteral(L, "faulty");
    lua_rawget(L, 1);
    if (lua_toboolean(L, -1)) refuse_faulty(L, call);
    lua_pop(L, 1);
  }
  if (!r) {
    mb_http_response_misused(L, call, "expected a request; call it as request:%s(...)",
                             calls[call].name);
  }
  if (!mb_handle_is_open(r->handle)) {
    mb_http_response_misused(
        L, call, "the request is faulty (the script has closed or reset the connection)");
  }
  if (!(calls[call].allowed & r->state)) mb_http_response_refuse_state(L, call, r->state);
  if (!r->used) {
    r->used = true;
    lua_pushboolean(L, 0);
    lua_setfield(L, 1, "fresh");
  }
  return r;
}

void mb_http_response_end_connection(lua_State *L, struct mb_http_response *r) {
  r->keepalive = false;
  lua_pushboolean(L, 0);
  lua_setfield(L, 1, "keepalive");
}

void mb_http_response_push_of_wire(lua_State *L, const char *name) {
  lua_getfield(L, 1, "_wire");
  lua_getfield(L, -1, name);
  lua_remove(L, -2);
}

void mb_http_response_check_upgrade(lua_State *L, enum mb_http_response_call call,
                                    struct mb_span protocols) {
  mb_http_response_push_of_wire(L, "input");
  const char *why = mb_http_input_upgrade_wrong(mb_http_input_at(L, -1), protocols);
  if (why) mb_http_response_misused(L, call, "a 101 cannot be sent: %s", why);
  lua_pop(L, 1);
}
