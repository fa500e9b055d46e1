/*
 * The response writer. What a script says goes out as late as possible: a response that is small goes
 * out in one piece, with its length.
 */
#include "http_response.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "handle_methods.h"
#include "http_reason.h"
#include "http_span.h"
#include "state.h"

#define RESPONSE_TYPE "mb.http.response"

/* Output that may be queued before a write waits for the client. */
#define QUEUE_MAX_BYTES 65536

/* States, as bits. */
enum {
  START = 1,    /* no status yet */
  HEAD = 2,     /* fields may be sent */
  BODY = 4,     /* the head is finished, though it may not have gone out yet */
  FINISHED = 8, /* the body, too */
};

enum call {
  SEND_STATUS,
  SEND_HEADER,
  CLOSE_AFTER_FINISH,
  MONOLOGUE,
  FINISH_HEADERS,
  SEND_DATA,
  SEND_FILE,
  FLUSH,
  FINISH,
};

/* What may be called in which state; and where the script is, counted in callers from here. */
static const struct {
  const char *name;
  unsigned allowed;
  int script;
} calls[] = {
    [SEND_STATUS] = {"send_status", START, 1},
    [SEND_HEADER] = {"send_header", HEAD, 1},
    [CLOSE_AFTER_FINISH] = {"close_after_finish", START | HEAD, 1},
    [MONOLOGUE] = {"monologue", START | HEAD, 2}, /* mb.http.body is between */
    [FINISH_HEADERS] = {"finish_headers", HEAD | BODY, 1},
    [SEND_DATA] = {"send_data", HEAD | BODY, 1},
    [SEND_FILE] = {"send_file", HEAD | BODY, 2}, /* mb.http.send_file is between */
    [FLUSH] = {"flush", START | HEAD | BODY | FINISHED, 1},
    [FINISH] = {"finish", HEAD | BODY | FINISHED, 1},
};

struct response {
  unsigned state;
  int code;       /* of the status */
  int minor;      /* of the request: HTTP/1.minor */
  bool is_head;   /* the request's method is HEAD: the body is counted, not sent */
  bool keepalive; /* the connection may be used again */
  bool used;      /* request.fresh is false */
  bool interim;   /* the status is 1xx: another one follows */
  bool dated;     /* the script has sent a Date */
  bool chunked;
  bool has_length;          /* the script has sent a Content-Length */
  bool head_pending;        /* the head has not gone out yet */
  uint64_t length;          /* what Content-Length says */
  uint64_t sent;            /* bytes of body so far */
  size_t minimum;           /* bytes of body that are gathered before they are sent */
  struct mb_buf head, body; /* gathered */
};

static struct response *response_at(lua_State *L, int index) {
  return luaL_checkudata(L, index, RESPONSE_TYPE);
}

int mb_http_response_new(lua_State *L) {
  struct response *r = lua_newuserdata(L, sizeof *r);
  *r = (struct response){
      .state = START,
      .is_head = lua_toboolean(L, 1),
      .minor = (int)luaL_checkinteger(L, 2),
      .keepalive = lua_toboolean(L, 3),
      .minimum = (size_t)luaL_checkinteger(L, 4),
      .head = MB_BUF_INIT,
      .body = MB_BUF_INIT,
  };
  luaL_setmetatable(L, RESPONSE_TYPE);
  return 1;
}

static int response_gc(lua_State *L) {
  struct response *r = response_at(L, 1);
  mb_buf_free(&r->head, mb_state_alloc(L));
  mb_buf_free(&r->body, mb_state_alloc(L));
  return 0;
}

/* ---- what every call begins with; the request is at index 1 ---- */

/* Throws; the message names the call and points at the script's line. */
static int misused(lua_State *L, enum call call, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  luaL_where(L, calls[call].script);
  lua_pushfstring(L, "%s: ", calls[call].name);
  lua_pushvfstring(L, format, arguments);
  va_end(arguments);
  lua_concat(L, 3);
  return lua_error(L);
}

static int refuse_faulty(lua_State *L, enum call call) {
  lua_getfield(L, 1, "_wire");
  lua_getfield(L, -1, "fault");
  const char *why = NULL;
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "message");
    why = lua_tostring(L, -1);
  }
  return misused(L, call, "the request is faulty (%s)", why ? why : "see the error before");
}

static int refuse_state(lua_State *L, enum call call, unsigned state) {
  const char *why = state == START  ? "no status was sent yet: request:send_status comes first"
                    : state == HEAD ? "the status was sent already"
                    : state == BODY ? "the response head is finished"
                                    : "the response is finished";
  return misused(L, call, "%s", why);
}

/* The response of the request at index 1; throws when the call is not allowed now. */
static struct response *enter(lua_State *L, enum call call) {
  struct response *r = NULL;
  if (lua_istable(L, 1)) {
    lua_getfield(L, 1, "_response");
    r = luaL_testudata(L, -1, RESPONSE_TYPE);
    lua_getfield(L, 1, "faulty");
    if (lua_toboolean(L, -1)) refuse_faulty(L, call);
    lua_pop(L, 2);
  }
  if (!r) misused(L, call, "expected a request; call it as request:%s(...)", calls[call].name);
  if (!(calls[call].allowed & r->state)) refuse_state(L, call, r->state);
  if (!r->used) {
    r->used = true;
    lua_pushboolean(L, 0);
    lua_setfield(L, 1, "fresh");
  }
  return r;
}

static void end_connection(lua_State *L, struct response *r) {
  r->keepalive = false;
  lua_pushboolean(L, 0);
  lua_setfield(L, 1, "keepalive");
}

static void append(lua_State *L, struct mb_buf *to, const char *text, size_t size) {
  size_t room;
  if (mb_buf_reserve(to, mb_state_alloc(L), size) < 0) luaL_error(L, "not enough memory");
  memcpy(mb_buf_room(to, &room), text, size);
  mb_buf_added(to, size);
}

static void append_text(lua_State *L, struct mb_buf *to, const char *text) {
  append(L, to, text, strlen(text));
}

/* Pushes a field of the request's connection. */
static void push_of_wire(lua_State *L, const char *name) {
  lua_getfield(L, 1, "_wire");
  lua_getfield(L, -1, name);
  lua_remove(L, -2);
}

/* ---- the head ---- */

/* Responses that have no body, whatever a script sends; those to HEAD are another matter. */
static bool is_bodyless(const struct response *r) {
  return r->code == 204 || r->code == 205 || r->code == 304 || r->code == 101;
}

/* The number of a status text, three digits and nothing or a space behind them; 0 when it is none. */
static int status_code(struct mb_span text) {
  if (text.size < 3 || (text.size > 3 && text.data[3] != ' ')) return 0;
  if (!mb_http_all((struct mb_span){text.data, 3}, MB_HTTP_DIGIT)) return 0;
  if (!mb_http_all(text, MB_HTTP_VALUE) || text.data[0] < '1' || text.data[0] > '5') return 0;
  return (text.data[0] - '0') * 100 + (text.data[1] - '0') * 10 + (text.data[2] - '0');
}

/*
 * request:send_status(status)
 * A text such as "404 Not Found", or an integer, whose usual phrase is added.
 * Source: reference, "request:send_status"; RFC 9112, section 4.
 */
static int send_status(lua_State *L) {
  struct response *r = enter(L, SEND_STATUS);
  lua_settop(L, 2);
  if (lua_isinteger(L, 2)) {
    lua_Integer code = lua_tointeger(L, 2);
    lua_pushfstring(L, "%I %s", (LUAI_UACINT)code,
                    code >= 100 && code <= 599 ? mb_http_reason((int)code) : "");
    lua_replace(L, 2);
  }
  struct mb_span text = {NULL, 0};
  if (lua_type(L, 2) == LUA_TSTRING) text.data = lua_tolstring(L, 2, &text.size);
  int code = status_code(text);
  if (code == 0) {
    return misused(
        L, SEND_STATUS,
        "expected a status such as \"200 OK\": three digits and a text without line ends");
  }
  append_text(L, &r->head, "HTTP/1.1 ");
  append(L, &r->head, text.data, text.size);
  append_text(L, &r->head, text.size == 3 ? " \r\n" : "\r\n");
  r->code = code;
  r->interim = code < 200 && code != 101;
  r->head_pending = true;
  r->state = HEAD;
  if (r->interim) return 0;
  push_of_wire(L, "static");
  text.data = lua_tolstring(L, -1, &text.size);
  if (text.data) append(L, &r->head, text.data, text.size);
  return 0;
}

static int bad_header(lua_State *L, const char *why) { return misused(L, SEND_HEADER, "%s", why); }

static bool on_length(lua_State *L, struct response *r, struct mb_span value) {
  uint64_t length = 0;
  if (value.size == 0 || value.size > 18 || !mb_http_all(value, MB_HTTP_DIGIT)) {
    bad_header(L, "Content-Length has to be a number of bytes");
  }
  for (size_t i = 0; i < value.size; i++) length = length * 10 + (unsigned)(value.data[i] - '0');
  if (r->has_length) bad_header(L, "Content-Length was sent already");
  if (r->interim || r->code == 204 || r->code == 101) {
    misused(L, SEND_HEADER, "a %d response has no Content-Length", r->code);
  }
  if (r->code == 205 && length > 0) bad_header(L, "a 205 response has no content");
  r->has_length = true;
  r->length = length;
  return true;
}

static bool on_coding(lua_State *L, struct response *r, struct mb_span value) {
  (void)r;
  (void)value;
  bad_header(L, "Transfer-Encoding is not for scripts to set: the body is framed by itself");
  return false;
}

/* What is said of the connection's end is ours to say; other options go out, each in a field. */
static bool on_connection(lua_State *L, struct response *r, struct mb_span list) {
  struct mb_span option;
  while (mb_http_list_next(&list, &option)) {
    if (mb_http_equals(option, "close")) {
      end_connection(L, r);
    } else if (!mb_http_equals(option, "keep-alive")) {
      append_text(L, &r->head, "Connection: ");
      append(L, &r->head, option.data, option.size);
      append_text(L, &r->head, "\r\n");
    }
  }
  return false;
}

static bool on_date(lua_State *L, struct response *r, struct mb_span value) {
  (void)L;
  (void)value;
  r->dated = true;
  return true;
}

/* Fields that mean something to us. A function returns whether the line is sent as it is. */
static const struct {
  const char *name;
  bool (*notice)(lua_State *L, struct response *r, struct mb_span value);
} special[] = {
    {"content-length", on_length},
    {"transfer-encoding", on_coding},
    {"connection", on_connection},
    {"date", on_date},
};

/*
 * request:send_header(key, value)
 * A value may be a number.
 * Source: reference, "request:send_header"; RFC 9110, section 5.
 */
static int send_header(lua_State *L) {
  struct response *r = enter(L, SEND_HEADER);
  struct mb_span name, value;
  lua_settop(L, 3);
  if (lua_type(L, 2) != LUA_TSTRING || !lua_isstring(L, 3)) {
    return misused(L, SEND_HEADER, "expected a name and a value, got %s and %s",
                   luaL_typename(L, 2), luaL_typename(L, 3));
  }
  name.data = lua_tolstring(L, 2, &name.size);
  value.data = lua_tolstring(L, 3, &value.size);
  const char *wrong = mb_http_field_wrong(name, value);
  if (wrong) return bad_header(L, wrong);
  for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
    if (!mb_http_equals(name, special[i].name)) continue;
    if (!special[i].notice(L, r, value)) return 0;
  }
  append(L, &r->head, name.data, name.size);
  append_text(L, &r->head, ": ");
  append(L, &r->head, value.data, value.size);
  append_text(L, &r->head, "\r\n");
  return 0;
}

#define DATE_SIZE 30 /* "Sun, 06 Nov 1994 08:49:37 GMT" and its NUL */

/*
 * IMF-fixdate (RFC 9110, section 5.6.7). Not by gmtime and strftime: those read the time zone's file
 * and know locales. Years are counted from March, so that a leap day is the last of one.
 */
static void format_date(char text[DATE_SIZE], int64_t when) {
  static const char days[] = "ThuFriSatSunMonTueWed"; /* 1970-01-01 was a Thursday */
  static const char months[] = "MarAprMayJunJulAugSepOctNovDecJanFeb";
  unsigned second = (unsigned)(when % 86400);
  unsigned day = (unsigned)(when / 86400);
  unsigned since = day + 719468;    /* days since 0000-03-01 */
  unsigned in_era = since % 146097; /* of 400 years */
  unsigned year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
  unsigned in_year = in_era - (365 * year + year / 4 - year / 100);
  unsigned month = (5 * in_year + 2) / 153; /* 0: March */
  unsigned in_month = in_year - (153 * month + 2) / 5 + 1;
  year += since / 146097 * 400 + (month >= 10);
  snprintf(text, DATE_SIZE, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", days + day % 7 * 3,
           in_month % 100, months + month * 3, year % 10000, second / 3600 % 24, second / 60 % 60,
           second % 60);
}

/* The field line of the current date; made once a second. */
static const char *date_line(void) {
  static time_t made = -1;
  static char line[6 + DATE_SIZE + 2] = "Date: ";
  time_t now = time(NULL);
  if (now != made) {
    format_date(line + 6, now);
    memcpy(line + 6 + DATE_SIZE - 1, "\r\n", 3);
    made = now;
  }
  return line;
}

int mb_http_date(lua_State *L) {
  lua_pushstring(L, date_line());
  return 1;
}

/*
 * Says how the body is framed (RFC 9112, section 6).
 * size  of the whole body; NULL when that is not known yet
 */
static void append_framing(lua_State *L, struct response *r, const uint64_t *size) {
  if (r->code == 101 || r->code == 204 || r->code == 304 || r->has_length) return;
  if (r->code == 205) {
    append_text(L, &r->head, "Content-Length: 0\r\n");
  } else if (size) {
    char line[48];
    snprintf(line, sizeof line, "Content-Length: %ju\r\n", (uintmax_t)*size);
    append_text(L, &r->head, line);
  } else if (r->is_head) {
    return;
  } else if (r->minor > 0) {
    r->chunked = true;
    append_text(L, &r->head, "Transfer-Encoding: chunked\r\n");
  } else {
    end_connection(L, r); /* whose end is that of the body */
  }
}

static void end_head(lua_State *L, struct response *r, const uint64_t *size) {
  push_of_wire(L, "static_date");
  if (!r->dated && !lua_toboolean(L, -1)) append_text(L, &r->head, date_line());
  push_of_wire(L, "expects");
  /* The client was not told to send its body: nobody knows whether it will. */
  if (lua_toboolean(L, -1)) end_connection(L, r);
  lua_pop(L, 2);
  append_framing(L, r, size);
  if (r->code == 101) {
    end_connection(L, r); /* what follows is another protocol, and the script's */
  } else if (!r->keepalive) {
    append_text(L, &r->head, "Connection: close\r\n");
  } else if (r->minor == 0) {
    append_text(L, &r->head, "Connection: keep-alive\r\n");
  }
  append_text(L, &r->head, "\r\n");
}

/* ---- output ---- */

static void queue(lua_State *L, struct mb_handle *h, const char *bytes, size_t size) {
  if (size > 0 && mb_wqueue_append(&h->out, h->alloc, bytes, size) < 0) {
    luaL_error(L, "not enough memory");
  }
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
 * last   the body ends here
 */
static void emit(lua_State *L, struct response *r, int data, bool flush, bool last) {
  push_of_wire(L, "socket");
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
  lua_pushstring(L, !r->chunked        ? ""
                    : size > 0 && last ? "\r\n0\r\n\r\n"
                    : last             ? "0\r\n\r\n"
                    : size > 0         ? "\r\n"
                                       : "");
  lua_call(L, 3, 2);
  if (lua_isnil(L, -2)) call_wire(L, "lose"); /* throws */
  lua_Integer most = flush ? 0 : QUEUE_MAX_BYTES;
  bool wait = lua_tointeger(L, -2) > most;
  lua_pop(L, 2);
  if (!wait) return;
  lua_pushinteger(L, most);
  call_wire(L, "drain");
}

/* Sends what was gathered, now or soon; ends the head for a body whose size is not known. */
static void emit_gathered(lua_State *L, struct response *r, int data, bool flush) {
  if (r->head_pending) end_head(L, r, NULL);
  emit(L, r, data, flush, false);
}

/* An interim response is its head; HTTP/1.0 knows none. The response itself is still to come. */
static void end_interim(lua_State *L, struct response *r) {
  r->state = START;
  r->interim = false;
  if (r->code == 100) {
    lua_getfield(L, 1, "_wire");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "expects");
    lua_pop(L, 1);
  }
  if (r->minor == 0) {
    r->head_pending = false;
    mb_buf_take(&r->head, mb_buf_len(&r->head));
    return;
  }
  append_text(L, &r->head, "\r\n");
  emit(L, r, 0, true, false);
}

/*
 * request:finish_headers()
 * Source: reference, "request:finish_headers".
 */
static int finish_headers(lua_State *L) {
  struct response *r = enter(L, FINISH_HEADERS);
  lua_settop(L, 1);
  if (r->interim) {
    end_interim(L, r);
    return 0;
  }
  r->state = BODY;
  if (r->head_pending) emit_gathered(L, r, 0, true);
  return 0;
}

/* ---- the body ---- */

/* Counts bytes that are about to be sent; throws when they may not be. */
static void count(lua_State *L, struct response *r, enum call call, uint64_t size) {
  if (r->interim) {
    misused(L, call, "an interim response has no body: request:finish_headers ends it");
  }
  if (!r->is_head) {
    if (size > 0 && is_bodyless(r)) misused(L, call, "a %d response has no body", r->code);
    if (r->has_length && size > r->length - r->sent) {
      misused(L, call, "%I bytes of body, but Content-Length is %I", (LUAI_UACINT)(r->sent + size),
              (LUAI_UACINT)r->length);
    }
  }
  r->sent += size;
  r->state = BODY;
}

/* Makes one string of all arguments behind the request, at index 2. */
static void concatenate(lua_State *L) {
  int top = lua_gettop(L);
  if (top == 2 && lua_type(L, 2) == LUA_TSTRING) return;
  for (int i = 2; i <= top; i++) {
    luaL_tolstring(L, i, NULL);
    lua_replace(L, i);
  }
  lua_concat(L, top - 1);
}

/*
 * request:send_data(...)
 * Source: reference, "request:send_data".
 */
static int send_data(lua_State *L) {
  struct response *r = enter(L, SEND_DATA);
  concatenate(L);
  size_t size;
  const char *data = lua_tolstring(L, 2, &size);
  count(L, r, SEND_DATA, size);
  if (r->is_head || size == 0) return 0;
  if (mb_buf_len(&r->body) + size >= r->minimum) {
    emit_gathered(L, r, 2, false);
  } else {
    append(L, &r->body, data, size);
  }
  return 0;
}

/*
 * request:flush()
 * Source: reference, "request:flush".
 */
static int flush(lua_State *L) {
  struct response *r = enter(L, FLUSH);
  lua_settop(L, 1);
  if (r->state == BODY) {
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
  struct response *r = enter(L, FINISH);
  lua_settop(L, 1);
  if (r->state == FINISHED) return 0;
  count(L, r, FINISH, 0);
  if (r->has_length && r->sent != r->length && !r->is_head && !is_bodyless(r)) {
    return misused(L, FINISH, "%I bytes of body, but Content-Length is %I", (LUAI_UACINT)r->sent,
                   (LUAI_UACINT)r->length);
  }
  r->state = FINISHED;
  /* A script that knows HEAD sends nothing: that says nothing of the size. */
  bool known = !(r->is_head && r->sent == 0);
  if (r->code == 101 && !r->head_pending) return 0; /* the connection is the script's */
  if (r->head_pending) end_head(L, r, known ? &r->sent : NULL);
  emit(L, r, 0, true, true);
  return 0;
}

/*
 * request:close_after_finish()
 * Source: reference, "request:close_after_finish".
 */
static int close_after_finish(lua_State *L) {
  end_connection(L, enter(L, CLOSE_AFTER_FINISH));
  return 0;
}

/* ---- for the Lua modules; the request at index 1 ---- */

/* request:_begin_monologue(): close_after_finish under another name. */
static int begin_monologue(lua_State *L) {
  end_connection(L, enter(L, MONOLOGUE));
  return 0;
}

/* request:_check_file(): throws when request:send_file may not be called now. */
static int check_file(lua_State *L) {
  enter(L, SEND_FILE);
  return 0;
}

/*
 * request:_begin_file(size)
 * So many bytes of body follow, which the caller sends by itself: sends what comes before them.
 * Returns whether they are to be sent, and what is to be sent behind them.
 */
static int begin_file(lua_State *L) {
  struct response *r = enter(L, SEND_FILE);
  uint64_t size = (uint64_t)luaL_checkinteger(L, 2);
  bool whole = r->head_pending && !r->interim && !r->has_length && r->sent == 0;
  if (whole && !is_bodyless(r)) {
    char line[48];
    snprintf(line, sizeof line, "Content-Length: %ju\r\n", (uintmax_t)size);
    append_text(L, &r->head, line);
    r->has_length = true;
    r->length = size;
  }
  count(L, r, SEND_FILE, size);
  if (r->is_head || size == 0) {
    lua_pushboolean(L, 0);
    return 1;
  }
  emit_gathered(L, r, 0, false);
  if (r->chunked) {
    char line[24];
    push_of_wire(L, "socket");
    queue(L, mb_handle_at(L, -1), line,
          (size_t)snprintf(line, sizeof line, "%jx\r\n", (uintmax_t)size));
  }
  lua_pushboolean(L, 1);
  lua_pushstring(L, r->chunked ? "\r\n" : "");
  return 2;
}

/* response:state(): "start" (no status was sent), "begun" or "finished"; and whether it is interim. */
static int response_state(lua_State *L) {
  const struct response *r = response_at(L, 1);
  lua_pushstring(L, r->state == START ? "start" : r->state == FINISHED ? "finished" : "begun");
  lua_pushboolean(L, r->interim);
  return 2;
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
    {"close_after_finish", close_after_finish},
    {"finish", finish},
    {"finish_headers", finish_headers},
    {"flush", flush},
    {"send_data", send_data},
    {"send_header", send_header},
    {"send_status", send_status},
    {NULL, NULL},
};

int mb_http_response_methods(lua_State *L) {
  luaL_newlib(L, request_methods);
  return 1;
}

static const luaL_Reg methods[] = {
    {"keeps_connection", keeps_connection},
    {"state", response_state},
    {NULL, NULL},
};

void mb_http_response_open(lua_State *L) {
  luaL_newmetatable(L, RESPONSE_TYPE);
  lua_pushcfunction(L, response_gc);
  lua_setfield(L, -2, "__gc");
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
