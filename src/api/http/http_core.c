/* The table of mb.http.core, and the functions that have no file of their own. */
#include "api/http/http_core.h"

#include <lauxlib.h>
#include <math.h>

#include "api/http/http_fields.h"
#include "api/http/http_input.h"
#include "api/http/http_json_text.h"
#include "api/http/http_list.h"
#include "api/http/http_options.h"
#include "api/http/http_path.h"
#include "api/http/http_request_log.h"
#include "api/http/http_response.h"
#include "api/http/http_stream.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/http_form.h"
#include "http/http_reason.h"
#include "socket/handle_file.h"
#include "socket/handle_methods.h"
#include "socket/timeout.h"
#include "state/lazy_functions.h"
#include "state/state.h"

/* ---- text ---- */

static size_t decode(char *to, struct mb_span from) { return mb_form_decode(to, from, true); }

/* Pushes the result of `convert` for argument 1, which is at most `growth` times as long as the argument. */
static int push_converted(lua_State *L, size_t growth, size_t (*convert)(char *, struct mb_span)) {
  struct mb_span text;
  luaL_Buffer b;
  text.data = luaL_checklstring(L, 1, &text.size);
  char *to = luaL_buffinitsize(L, &b, growth * text.size);
  luaL_pushresultsize(&b, convert(to, text));
  return 1;
}

/*
 * http.encode_html(text), http.encode_uri(text), http.decode_uri(text)
 * Each returns a string. Source: moonbridge_http(3).
 */
static int encode_html(lua_State *L) { return push_converted(L, 6, mb_html_encode); }
static int encode_uri(lua_State *L) { return push_converted(L, 3, mb_form_encode); }
static int decode_uri(lua_State *L) { return push_converted(L, 1, decode); }

/*
 * core.field_line(name, value)
 * Returns the field line "name: value" with CR LF; or nil and the reason why it is invalid.
 */
static int field_line(lua_State *L) {
  struct mb_span name, value;
  name.data = luaL_checklstring(L, 1, &name.size);
  value.data = luaL_checklstring(L, 2, &value.size);
  const char *wrong = mb_http_field_wrong(name, value);
  if (wrong) {
    lua_pushnil(L);
    lua_pushstring(L, wrong);
    return 2;
  }
  luaL_Buffer b;
  luaL_buffinitsize(L, &b, name.size + value.size + 4);
  luaL_addlstring(&b, name.data, name.size);
  luaL_addlstring(&b, ": ", 2);
  luaL_addlstring(&b, value.data, value.size);
  luaL_addlstring(&b, "\r\n", 2);
  luaL_pushresult(&b);
  return 1;
}

/* core.reason(status): returns the usual phrase of a status, or "". */
static int reason(lua_State *L) {
  lua_pushstring(L, mb_http_reason((int)luaL_checkinteger(L, 1)));
  return 1;
}

/* ---- calls ---- */

static int call_done(lua_State *L, int status, lua_KContext ctx) {
  (void)ctx;
  bool good = status == LUA_OK || status == LUA_YIELD;
  lua_pushboolean(L, good);
  if (good) return 1;
  lua_insert(L, -2);
  return 2;
}

static const char took_too_long[] = "http: response_timeout: the handler took too long in ";

/* Method and target as the client has sent them, "GET /path": they lie side by side in the head. */
static struct mb_timeout_label label_of(const struct mb_http_input *input) {
  const struct mb_http_head *head = &input->head;
  size_t size = (size_t)(head->target.data + head->target.size - head->method.data);
  return (struct mb_timeout_label){took_too_long, head->method.data, size};
}

/* Stack: seconds, the input, a function, and its arguments. */
static int call_limited(lua_State *L) {
  struct mb_timeout_label label = label_of(mb_http_input_at(L, 2));
  lua_remove(L, 2);
  return mb_timeout_call(L, luaL_checknumber(L, 1), label);
}

/*
 * core.call(seconds, input, f, ...)
 * Calls f(...) with a limit as timeout(seconds, f, ...) has it, for the request that the input has read last.
 * Returns true; or false and the error, whose traceback is kept for core.throw_on.
 */
static int call(lua_State *L) {
  mb_state_check_callable(L, 3);
  lua_pushcfunction(L, call_limited);
  lua_insert(L, 1);
  return call_done(L, mb_state_pcall_keep(L, lua_gettop(L) - 1, 0, call_done), 0);
}

/* core.limit(seconds, f, ...): returns f(...), with a limit as core.call has it. For on_error. */
static int limit(lua_State *L) {
  static const char text[] = "http: on_error took too long";
  mb_state_check_callable(L, 2);
  return mb_timeout_call(L, luaL_checknumber(L, 1), (struct mb_timeout_label){.text = text});
}

/* core.lift(input): ends the limit of core.call for its request: another protocol follows on the connection. */
static int lift(lua_State *L) {
  struct mb_timeout_label label = label_of(mb_http_input_at(L, 1));
  mb_timeout_lift(&label);
  return 0;
}

/* core.try(f, ...): as core.call, but without a limit, and not for a request. */
static int try(lua_State *L) {
  mb_state_check_callable(L, 1);
  return call_done(L, mb_state_pcall_keep(L, lua_gettop(L) - 1, 0, call_done), 0);
}

/*
 * core.throw_on(error[, text])
 * Throws an error that core.call or core.try has returned; in its place the text, if there is one.
 */
static int throw_on(lua_State *L) {
  lua_settop(L, 2);
  if (lua_isnil(L, 2)) {
    lua_pop(L, 1);
  } else {
    mb_state_rename_kept(L);
  }
  return mb_state_throw_on(L);
}

/* core.log(level, text): logs a line. level is "info", "notice", "warning" or "err". */
static int log_line(lua_State *L) {
  static const char *const names[] = {"info", "notice", "warning", "err", NULL};
  static const int levels[] = {LOG_INFO, LOG_NOTICE, LOG_WARNING, LOG_ERR};
  int level = levels[luaL_checkoption(L, 1, NULL, names)];
  size_t len;
  const char *text = luaL_checklstring(L, 2, &len);
  mb_log_script(level, text, len);
  return 0;
}

/* core.after(seconds): returns the point in time that is so many seconds from now; infinity for false. */
static int after(lua_State *L) {
  if (lua_toboolean(L, 1)) {
    lua_pushnumber(L, (lua_Number)mb_now_usec() / 1e6 + luaL_checknumber(L, 1));
  } else {
    lua_pushnumber(L, HUGE_VAL);
  }
  return 1;
}

/* ---- the socket ---- */

/* core.is_open(socket): returns whether the script has neither closed nor reset the socket. */
static int is_open(lua_State *L) {
  lua_pushboolean(L, mb_handle_is_open(mb_handle_at(L, 1)));
  return 1;
}

/* core.is_writable(socket): returns whether the socket is open and the script has not finished its output. */
static int is_writable(lua_State *L) {
  lua_pushboolean(L, mb_handle_at(L, 1)->state == MB_HANDLE_OPEN);
  return 1;
}

/* core.is_network(socket): returns whether there is a peer; a replay has none. */
static int is_network(lua_State *L) {
  lua_pushboolean(L, mb_handle_is_socket(mb_handle_at(L, 1)));
  return 1;
}

/*
 * core.end_output(socket)
 * Sends FIN, also on a Unix socket, whose input stays open (unlike with socket:finish). The caller has sent
 * all output. Returns whether that was possible.
 */
static int end_output(lua_State *L) {
  lua_pushboolean(L, mb_handle_end_output(mb_handle_at(L, 1)) == 0);
  return 1;
}

/*
 * core.unsent(socket)
 * Returns how many bytes the system still holds for the client; -1 when the system cannot tell.
 */
static int unsent(lua_State *L) {
  int count = mb_handle_unsent(mb_handle_at(L, 1));
  lua_pushinteger(L, count < 0 ? -1 : count);
  return 1;
}

/*
 * core.is_delivered(socket)
 * Returns whether closing loses no output even if the client still sends something: the client's TCP has
 * acknowledged everything. Other kinds of sockets keep the output for the client in any case.
 */
static int is_delivered(lua_State *L) {
  const struct mb_handle *h = mb_handle_at(L, 1);
  lua_pushboolean(L, !mb_handle_is_tcp(h) || mb_handle_unsent(h) <= 0);
  return 1;
}

/* The functions of moonbridge_http, besides generate_handler. */
static const luaL_Reg face[] = {
    {"decode_path", mb_http_decode_path},
    {"decode_uri", decode_uri},
    {"encode_html", encode_html},
    {"encode_uri", encode_uri},
    {NULL, NULL},
};

/* core.face(): returns a table of them. */
static int push_face(lua_State *L) {
  lua_createtable(L, 0,
                  (int)(sizeof face / sizeof *face)); /* generate_handler in place of the end */
  luaL_setfuncs(L, face, 0);
  return 1;
}

static const luaL_Reg functions[] = {
    {"after", after},
    {"call", call},
    {"date", mb_http_response_date},
    {"end_output", end_output},
    {"face", push_face},
    {"field_line", field_line},
    {"file_size", mb_handle_file_size},
    {"form", mb_http_form},
    {"input", mb_http_input_new},
    {"is_delivered", is_delivered},
    {"is_network", is_network},
    {"is_open", is_open},
    {"is_writable", is_writable},
    {"lift", lift},
    {"list", mb_http_list},
    {"list_lines", mb_http_list_lines},
    {"log", log_line},
    {"open_file", mb_handle_open_file},
    {"option_rows", mb_http_option_rows},
    {"option_text", mb_http_option_text},
    {"options", mb_http_options},
    {"pattern", mb_http_pattern},
    {"reason", reason},
    {"request_methods", mb_http_response_methods},
    {"response", mb_http_response_new},
    {"send_file", mb_handle_send_file},
    {"throw_on", throw_on},
    {"try", try},
    {"unsent", unsent},
    /* What few connections ask for stands behind what all of them do. */
    {"counter", mb_http_counter},
    {"encode_html", encode_html},
    {"ends", mb_http_stream_ends},
    {"json_look", mb_http_json_look},
    {"limit", limit},
    {"path_segments", mb_http_path_segments},
    {"route_pattern", mb_http_route_pattern},
    {NULL, NULL},
};

int mb_http_core_open(lua_State *L) {
  mb_http_input_open(L);
  mb_http_response_open(L);
  mb_lazy_functions_table(L, functions);
  if (mb_http_request_log_is_on()) mb_http_request_log_functions(L);
  return 1;
}
