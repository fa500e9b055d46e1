/* The head of a response. It is gathered, and goes out with the first bytes of the body. */
#include "api/http/http_response_head.h"

#include <lauxlib.h>

#include "api/http/http_content.h"
#include "api/http/http_input.h"
#include "api/http/http_response_output.h"
#include "base/drain.h"
#include "http/http_date.h"
#include "http/http_number.h"
#include "http/http_reason.h"
#include "http/http_span.h"

bool mb_http_response_is_bodyless(const struct mb_http_response *r) {
  return r->code == 204 || r->code == 205 || r->code == 304 || r->code == 101;
}

/* Returns the number of a status text: three digits, then a space or the end. 0: the text is no status. */
static int status_code(struct mb_span text) {
  if (text.size < 3 || (text.size > 3 && text.data[3] != ' ')) return 0;
  if (!mb_http_all((struct mb_span){text.data, 3}, MB_HTTP_DIGIT)) return 0;
  if (!mb_http_all(text, MB_HTTP_VALUE) || text.data[0] < '1' || text.data[0] > '5') return 0;
  return (text.data[0] - '0') * 100 + (text.data[1] - '0') * 10 + (text.data[2] - '0');
}

void mb_http_response_end_interim(lua_State *L, struct mb_http_response *r, lua_KFunction then) {
  r->state = MB_HTTP_RESPONSE_BROKEN;
  r->interim = r->dated = r->upgrades = false;
  if (r->code == 100) {
    lua_getfield(L, 1, "_wire");
    lua_getfield(L, -1, "stop_expecting");
    lua_insert(L, -2);
    lua_call(L, 1, 0);
  }
  if (r->minor == 0) { /* HTTP/1.0 knows no interim responses */
    r->head_pending = false;
    mb_buf_take(&r->head, mb_buf_len(&r->head));
    r->state = MB_HTTP_RESPONSE_START;
    return;
  }
  mb_http_response_append_text(L, &r->head, "\r\n");
  mb_http_response_emit(L, r, 0, true, MB_HTTP_RESPONSE_START, then);
}

/* Begins the head. Stack: request, response, status text. */
static int begin_head(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  struct mb_http_response *r = luaL_checkudata(L, 2, MB_HTTP_RESPONSE_TYPE);
  struct mb_span text, fields = {NULL, 0};
  text.data = lua_tolstring(L, 3, &text.size);
  /* A stream handler may have sent a status while an interim response has waited. */
  if (r->state != MB_HTTP_RESPONSE_START) {
    mb_http_response_refuse_state(L, MB_HTTP_RESPONSE_SEND_STATUS, r->state);
  }
  r->state = MB_HTTP_RESPONSE_BROKEN;
  r->code = status_code(text);
  r->interim = r->code < 200 && r->code != 101;
  mb_http_response_append_text(L, &r->head, "HTTP/1.1 ");
  mb_http_response_append(L, &r->head, text.data, text.size);
  mb_http_response_append_text(L, &r->head, text.size == 3 ? " \r\n" : "\r\n");
  mb_http_response_push_of_wire(L, "static");
  fields.data = lua_tolstring(L, -1, &fields.size);
  r->static_at = mb_buf_len(&r->head);
  r->static_size = fields.size;
  if (fields.size > 0) mb_http_response_append(L, &r->head, fields.data, fields.size);
  r->head_pending = true;
  r->state = MB_HTTP_RESPONSE_HEAD;
  return 0;
}

/*
 * request:send_status(status)
 * status is a text such as "404 Not Found", or an integer, to which the usual phrase is added.
 * Source: reference, "request:send_status"; RFC 9112, section 4.
 */
int mb_http_response_send_status(lua_State *L) {
  struct mb_http_response *r = mb_http_response_enter(L, MB_HTTP_RESPONSE_SEND_STATUS);
  lua_settop(L, 3);
  if (r->state == MB_HTTP_RESPONSE_HEAD && !r->interim) {
    mb_http_response_refuse_state(L, MB_HTTP_RESPONSE_SEND_STATUS, r->state);
  }
  lua_Integer number = lua_isinteger(L, 3) ? lua_tointeger(L, 3) : 0;
  if (number >= 100 && number <= 599) {
    lua_pushfstring(L, "%I %s", (LUAI_UACINT)number, mb_http_reason((int)number));
    lua_replace(L, 3);
  }
  struct mb_span text = {NULL, 0};
  if (lua_type(L, 3) == LUA_TSTRING) text.data = lua_tolstring(L, 3, &text.size);
  int code = status_code(text);
  if (code == 0) {
    return mb_http_response_misused(
        L, MB_HTTP_RESPONSE_SEND_STATUS,
        "expected a status from 100 to 599, such as \"200 OK\" or 200, without line ends, got %s",
        lua_type(L, 3) == LUA_TSTRING ? lua_pushfstring(L, "\"%s\"", lua_tostring(L, 3))
                                      : luaL_typename(L, 3));
  }
  if (code == 101) {
    mb_http_response_check_upgrade(L, MB_HTTP_RESPONSE_SEND_STATUS, (struct mb_span){NULL, 0});
  }
  if (r->state == MB_HTTP_RESPONSE_HEAD) mb_http_response_end_interim(L, r, begin_head);
  return begin_head(L, LUA_OK, 0);
}

static int bad_header(lua_State *L, const char *why) {
  return mb_http_response_misused(L, MB_HTTP_RESPONSE_SEND_HEADER, "%s", why);
}

static bool on_length(lua_State *L, struct mb_http_response *r, struct mb_span value) {
  uint64_t length = 0;
  if (value.size == 0 || value.size > 18 || !mb_http_all(value, MB_HTTP_DIGIT)) {
    bad_header(L, "Content-Length has to be a number of bytes");
  }
  for (size_t i = 0; i < value.size; i++) length = length * 10 + (unsigned)(value.data[i] - '0');
  if (r->has_length) bad_header(L, "Content-Length was sent already");
  if (r->interim || r->code == 204 || r->code == 101) {
    mb_http_response_misused(L, MB_HTTP_RESPONSE_SEND_HEADER, "a %d response has no Content-Length",
                             r->code);
  }
  if (r->code == 205 && length > 0) bad_header(L, "a 205 response has no content");
  r->has_length = true;
  r->length = length;
  return true;
}

static bool on_coding(lua_State *L, struct mb_http_response *r, struct mb_span value) {
  (void)r;
  (void)value;
  bad_header(L, "Transfer-Encoding is not for scripts to set: the body is framed by itself");
  return false;
}

/*
 * Keeps "close" and "keep-alive" back, as we say ourselves whether the connection goes on, and "upgrade" of
 * a 101, which we add. Sends each other option in a field of its own.
 */
static bool on_connection(lua_State *L, struct mb_http_response *r, struct mb_span list) {
  struct mb_span option;
  r->state = MB_HTTP_RESPONSE_BROKEN;
  while (mb_http_list_next(&list, &option)) {
    if (mb_http_equals(option, "close")) {
      mb_http_response_end_connection(L, r);
    } else if (!mb_http_equals(option, "keep-alive") &&
               !(r->code == 101 && mb_http_equals(option, "upgrade"))) {
      mb_http_response_append_text(L, &r->head, "Connection: ");
      mb_http_response_append(L, &r->head, option.data, option.size);
      mb_http_response_append_text(L, &r->head, "\r\n");
    }
  }
  return false;
}

static bool on_date(lua_State *L, struct mb_http_response *r, struct mb_span value) {
  (void)L;
  (void)value;
  r->dated = true;
  return true;
}

/* Takes a Content-Type out of those of static_headers: one of the script has come. */
static void drop_static_type(struct mb_http_response *r) {
  while (r->static_size > 0) {
    struct mb_span rest = {mb_buf_bytes(&r->head) + r->static_at, r->static_size};
    struct mb_span line = mb_http_take_until(&rest, '\n');
    size_t size = line.size + 1;
    if (mb_http_equals(mb_http_take_until(&line, ':'), "content-type")) {
      mb_buf_cut(&r->head, r->static_at, size);
    } else {
      r->static_at += size;
    }
    r->static_size -= size;
  }
}

static bool on_upgrade(lua_State *L, struct mb_http_response *r, struct mb_span value) {
  if (r->code == 101) mb_http_response_check_upgrade(L, MB_HTTP_RESPONSE_SEND_HEADER, value);
  r->upgrades = true;
  return true;
}

/* Fields that have a meaning for us. The function returns whether the field line is sent as it is. */
static const struct {
  const char *name;
  bool (*notice)(lua_State *L, struct mb_http_response *r, struct mb_span value);
} special[] = {
    {"content-length", on_length}, {"transfer-encoding", on_coding},
    {"connection", on_connection}, {"date", on_date},
    {"upgrade", on_upgrade},
};

/*
 * request:send_header(key, value)
 * value may be a number.
 * Source: reference, "request:send_header"; RFC 9110, section 5.
 */
int mb_http_response_send_header(lua_State *L) {
  struct mb_http_response *r = mb_http_response_enter(L, MB_HTTP_RESPONSE_SEND_HEADER);
  struct mb_span name, value;
  lua_settop(L, 4);
  if (lua_type(L, 3) != LUA_TSTRING || !lua_isstring(L, 4)) {
    const char *of = lua_type(L, 3) == LUA_TSTRING
                         ? lua_pushfstring(L, "\"%s\"", lua_tostring(L, 3))
                         : luaL_typename(L, 3);
    return mb_http_response_misused(L, MB_HTTP_RESPONSE_SEND_HEADER,
                                    "expected a name and a value, got %s and %s", of,
                                    luaL_typename(L, 4));
  }
  name.data = lua_tolstring(L, 3, &name.size);
  value.data = lua_tolstring(L, 4, &value.size);
  const char *wrong = mb_http_field_wrong(name, value);
  if (wrong) return bad_header(L, wrong);
  bool as_it_is = true;
  for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
    if (mb_http_equals(name, special[i].name)) as_it_is = special[i].notice(L, r, value);
  }
  if (r->static_size > 0 && mb_http_equals(name, "content-type")) drop_static_type(r);
  r->state = MB_HTTP_RESPONSE_BROKEN;
  if (as_it_is) {
    mb_http_response_append(L, &r->head, name.data, name.size);
    mb_http_response_append_text(L, &r->head, ": ");
    mb_http_response_append(L, &r->head, value.data, value.size);
    mb_http_response_append_text(L, &r->head, "\r\n");
  }
  r->state = MB_HTTP_RESPONSE_HEAD;
  return 0;
}

/*
 * Adds the field that frames the body, if there is one (RFC 9112, section 6).
 * size  of the whole body; NULL when it is not known yet
 */
static void append_framing(lua_State *L, struct mb_http_response *r, const uint64_t *size) {
  if (r->code == 101 || r->code == 204 || r->code == 304 || r->has_length) return;
  if (r->code == 205) {
    mb_http_response_append_text(L, &r->head, "Content-Length: 0\r\n");
  } else if (size) {
    char line[MB_HTTP_LENGTH_LINE_MAX];
    mb_http_response_append(L, &r->head, line, mb_http_length_line(line, *size));
  } else if (r->is_head) {
    return;
  } else if (r->minor > 0) {
    r->chunked = true;
    mb_http_response_append_text(L, &r->head, "Transfer-Encoding: chunked\r\n");
  } else {
    mb_http_response_end_connection(L, r); /* the end of the connection is the end of the body */
  }
}

/* Makes the response the last one if the request body is wrong, as far as that is known by now. */
static void end_after_bad_body(lua_State *L, struct mb_http_response *r) {
  mb_http_response_push_of_wire(L, "input");
  if (mb_http_content_foresees_refusal(mb_http_input_at(L, -1)))
    mb_http_response_end_connection(L, r);
  lua_pop(L, 1);
}

void mb_http_response_end_head(lua_State *L, struct mb_http_response *r, const uint64_t *size) {
  mb_http_response_push_of_wire(L, "static_date");
  if (!r->dated && !lua_toboolean(L, -1))
    mb_http_response_append_text(L, &r->head, mb_http_date_line());
  mb_http_response_push_of_wire(L, "expects");
  /* The client was not told to send its body, so nobody knows whether it will send it. */
  if (lua_toboolean(L, -1)) mb_http_response_end_connection(L, r);
  lua_pop(L, 2);
  if (r->has_body) end_after_bad_body(L, r);
  /* The process ends after this connection: the client sends its next request to another. */
  if (mb_drain_begun()) mb_http_response_end_connection(L, r);
  append_framing(L, r, size);
  if (r->code == 101) {
    mb_http_response_end_connection(L, r); /* another protocol follows, which is the script's */
    mb_http_response_append_text(L, &r->head, "Connection: upgrade\r\n");
  } else if (!r->keepalive) {
    mb_http_response_append_text(L, &r->head, "Connection: close\r\n");
  } else if (r->minor == 0) {
    mb_http_response_append_text(L, &r->head, "Connection: keep-alive\r\n");
  }
  mb_http_response_append_text(L, &r->head, "\r\n");
}
