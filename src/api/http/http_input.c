/* The input object: its life, and request heads. */
#include "api/http/http_input.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdint.h>
#include <string.h>

#include "api/http/http_body.h"
#include "api/http/http_fields.h"
#include "api/http/http_idle.h"
#include "api/http/http_list.h"
#include "api/http/http_request_log.h"
#include "http/http_upgrade.h"
#include "socket/handle_methods.h"
#include "state/lazy_functions.h"
#include "state/state.h"

#define INPUT_TYPE "mb.http.input"

/* The memory of a larger head is given back when the next head fits into this. */
#define KEEP_HEAD_BYTES 8192

struct mb_http_input *mb_http_input_at(lua_State *L, int index) {
  return luaL_checkudata(L, index, INPUT_TYPE);
}

/* Throws: the handler was called with something else than a socket, such as what an interval's connect gets. */
static void has_no_connection(lua_State *L) {
  static const char *const kinds[] = {"interval", "main"};
  for (size_t i = 0; lua_istable(L, 1) && i < sizeof kinds / sizeof *kinds; i++) {
    lua_pushstring(L, kinds[i]);
    if (lua_rawget(L, 1) == LUA_TSTRING)
      luaL_error(L,
                 "generate_handler: connect was called for %s \"%s\", which has no connection: it "
                 "needs another connect, in a listen{} of its own",
                 kinds[i], lua_tostring(L, -1));
    lua_pop(L, 1);
  }
  luaL_error(L, "generate_handler: the handler expects a socket, got %s", luaL_typename(L, 1));
}

int mb_http_input_new(lua_State *L) {
  struct mb_handle *h = mb_handle_test(L, 1);
  if (!h) has_no_connection(L);
  struct mb_http_input *in = lua_newuserdata(L, sizeof *in);
  /* The fields of the head are left out: they are 4 KiB, and are written before they are read. */
  memset(in, 0, offsetof(struct mb_http_input, head));
  memset(&in->ended, 0, sizeof *in - offsetof(struct mb_http_input, ended));
  in->head.field_count = 0;
  in->head.method = in->head.target = in->head.host = (struct mb_span){NULL, 0};
  in->handle = h;
  in->head_limit = (size_t)luaL_checkinteger(L, 2);
  in->body_limit = lua_toboolean(L, 3) ? (uint64_t)luaL_checkinteger(L, 3) : UINT64_MAX;
  in->ended = true;
  in->stash = MB_BUF_INIT;
  luaL_setmetatable(L, INPUT_TYPE);
  lua_pushvalue(L, 1);
  lua_setuservalue(L, -2);
  if (mb_http_request_log_is_on()) mb_http_request_log_attach(L, in);
  return 1;
}

static void free_body(struct mb_http_input *in) {
  struct mb_alloc *alloc = in->handle->alloc;
  mb_buf_free(&in->stash, alloc);
  if (!in->parts) return;
  mb_buf_free(&in->parts->value, alloc);
  mb_alloc(alloc, in->parts, sizeof *in->parts, 0);
  in->parts = NULL;
}

static int input_gc(lua_State *L) {
  struct mb_http_input *in = mb_http_input_at(L, 1);
  mb_http_request_log_detach(in);
  free_body(in);
  mb_alloc(in->handle->alloc, in->head_bytes, in->head_capacity, 0);
  in->head_bytes = NULL;
  in->head_capacity = 0;
  /* A finalizer of the script that runs later may still ask for these. */
  in->head.field_count = 0;
  in->head.method = in->head.target = in->head.host = (struct mb_span){NULL, 0};
  return 0;
}

/* ---- heads ---- */

/* Moves the head from the handle's buffer to a copy of our own. */
static void take_head(lua_State *L, struct mb_http_input *in, size_t size) {
  struct mb_handle *h = in->handle;
  bool fits = size <= in->head_capacity;
  if (!fits || (in->head_capacity > KEEP_HEAD_BYTES && size <= KEEP_HEAD_BYTES)) {
    if (mb_state_block(L, &in->head_bytes, &in->head_capacity, size)) {
      mb_handle_check_open(L, h);
      if (mb_buf_len(&h->in) < size) luaL_error(L, "a finalizer has read the request's head");
    }
  }
  memcpy(in->head_bytes, mb_buf_bytes(&h->in), size);
  mb_buf_take(&h->in, size);
}

/* Forgets the request before, and prepares for the body of the head just read. */
static void begin_body(struct mb_http_input *in) {
  free_body(in);
  in->ended = in->head.framing == MB_HTTP_NO_BODY ||
              (in->head.framing == MB_HTTP_LENGTH && in->head.length == 0);
  in->left = in->head.length;
  in->chunked = MB_HTTP_CHUNKED_INIT;
  in->received = 0;
  in->refused = false;
  in->foreseen = NULL;
}

static int push_head(lua_State *L, const struct mb_http_input *in) {
  const struct mb_http_head *head = &in->head;
  struct mb_span path = head->path;
  if (path.size > 0 && path.data[0] == '/') {
    path.data++;
    path.size--;
  }
  mb_http_push_span(L, head->method);
  mb_http_push_span(L, path);
  mb_http_push_span(L, head->query);
  lua_pushinteger(L, head->minor);
  lua_pushboolean(L, head->keepalive && head->length <= in->body_limit);
  lua_pushboolean(L, head->framing != MB_HTTP_NO_BODY);
  lua_pushboolean(L, head->expects);
  return 7;
}

/* Returns the refusal of a head that has no end within its limit; data is its first `size` bytes. */
static struct mb_http_refusal too_large(const char *data, size_t size) {
  if (!memchr(data, '\n', size)) {
    return (struct mb_http_refusal){414, "the request line is too long"};
  }
  return (struct mb_http_refusal){431, "the request head is too large"};
}

/* Drops empty lines before a request, which belong to no request (RFC 9112, section 2.2). */
static void drop_empty_lines(struct mb_buf *received) {
  size_t len;
  while ((len = mb_buf_len(received)) > 0) {
    const char *bytes = mb_buf_bytes(received);
    bool crlf = len > 1 && memcmp(bytes, "\r\n", 2) == 0;
    if (!crlf && bytes[0] != '\n') return;
    mb_buf_take(received, crlf ? 2 : 1);
  }
}

/*
 * Looks for a whole head in the buffer.
 * Returns 1, and its size; 0 when there is more to come; -1 when the head is refused.
 */
static int find_head(struct mb_http_input *in, size_t *ret_size) {
  struct mb_handle *h = in->handle;
  /* The buffer holds less than was searched before: the script has read from the socket by itself. */
  if (in->scanned > mb_buf_len(&h->in)) in->scanned = 0;
  if (in->scanned == 0) drop_empty_lines(&h->in);
  size_t len = mb_buf_len(&h->in);
  if (len == 0) return 0;
  size_t span = len < in->head_limit ? len : in->head_limit;
  *ret_size = mb_http_head_end(mb_buf_bytes(&h->in), span, &in->scanned, &in->refusal);
  if (*ret_size > 0) return 1;
  if (in->refusal.status == 0 && len >= in->head_limit) {
    in->refusal = too_large(mb_buf_bytes(&h->in), span);
  }
  return in->refusal.status == 0 ? 0 : -1;
}

/*
 * Returns whether the bytes begin as the header of the PROXY protocol does. The two empty lines at the
 * beginning of version 2 were dropped before.
 */
static bool is_proxy_header(const char *head, size_t size) {
  static const struct mb_span begins[] = {
      {"PROXY TCP4 ", 11}, {"PROXY TCP6 ", 11}, {"PROXY UNKNOWN", 13}, {"\0\r\nQUIT\n", 8}};
  for (size_t i = 0; i < sizeof begins / sizeof *begins; i++) {
    if (size >= begins[i].size && memcmp(head, begins[i].data, begins[i].size) == 0) return true;
  }
  return false;
}

/*
 * Reads a whole head of in->head_bytes. Returns whether it is accepted. An https URL needs a connection with
 * TLS, of which only a trusted proxy can tell us (RFC 9110, section 7.4).
 */
static bool parse_head(struct mb_http_input *in, size_t size) {
  if (!mb_http_head_parse(in->head_bytes, size, &in->head, &in->refusal)) return false;
  if (!in->head.secure || in->handle->proxied) return true;
  in->refusal = (struct mb_http_refusal){421, "an https URL on a connection without TLS"};
  return false;
}

/*
 * Pushes the refusal of a head, and whether the head looks like a PROXY header, which was not announced. That
 * is for the log only: the answer must not depend on how many bytes have come so far.
 */
static int refuse_head(lua_State *L, struct mb_http_input *in, const char *head, size_t size) {
  in->refused = true;
  if (in->log) {
    bool is_taken = head == in->head_bytes;
    mb_http_request_log_refused(in->log, (struct mb_span){is_taken ? head : NULL, size});
  }
  mb_http_push_refusal(L, &in->refusal);
  lua_pushboolean(L, is_proxy_header(head, size));
  return 5;
}

/*
 * Returns whether a response shows by itself whether it is whole: since HTTP/1.1 its framing does. What another
 * protocol does, behind a 101, is unknown.
 */
static bool shows_its_end(const struct mb_http_head *head) {
  return head->minor > 0 && mb_http_upgrade_wrong(head) != NULL;
}

/*
 * input:head(receive)
 * Reads the next request's head. receive: false to look only at bytes that were received before.
 * Returns method, path (nil for "*"), query (nil for "*"), minor version, whether the client keeps
 * the connection, whether there is a body, whether the client expects a 100; or nil and
 *   "block", begun     the head is not complete; begun: some of it is there
 *   "end", begun       the client has ended its output
 *   "tls"              the client speaks TLS; nothing else will come
 *   "refused", status, reason, whether the head looks like a PROXY header
 *   "failed", errno, message
 */
static int input_head(lua_State *L) {
  struct mb_http_input *in = mb_http_input_at(L, 1);
  bool receive = lua_toboolean(L, 2);
  struct mb_handle *h = in->handle;
  size_t size;
  int found;
  mb_handle_check_open(L, h);
  if (!in->ended || in->refused) return luaL_error(L, "the request before was not read to its end");
  h->in_short = false;
  in->head.method = (struct mb_span){NULL, 0}; /* forgets that of the request before */
  for (;;) {
    if (mb_handle_begins_with_tls(h)) {
      lua_pushnil(L);
      lua_pushliteral(L, "tls");
      return 2;
    }
    if (in->log) mb_http_request_log_looked(in->log, mb_buf_len(&h->in) > 0);
    found = find_head(in, &size);
    if (found != 0) break;
    ssize_t n = receive ? mb_handle_receive(L, h, SIZE_MAX, false) : -EAGAIN;
    if (n == -EAGAIN || n == 0) {
      size_t len = mb_buf_len(&h->in);
      /* A CR alone may come from an empty line, which belongs to no request. */
      bool begun = len > 1 || (len == 1 && *mb_buf_bytes(&h->in) != '\r');
      h->in_short = len > 0 && n != 0; /* poll waits for more */
      if (in->log) mb_http_request_log_waits(in->log);
      lua_pushnil(L);
      lua_pushstring(L, n == 0 ? "end" : "block");
      lua_pushboolean(L, begun);
      return 3;
    }
    if (n < 0) return mb_http_push_failure(L, (int)n);
    in->count += (uint64_t)n;
  }
  if (found < 0) {
    return refuse_head(L, in, mb_buf_bytes(&h->in), mb_buf_len(&h->in));
  }
  in->scanned = 0;
  take_head(L, in, size);
  if (!parse_head(in, size)) {
    in->head.field_count = 0;
    return refuse_head(L, in, in->head_bytes, size);
  }
  if (h->io.keeps_last && shows_its_end(&in->head)) {
    mb_handle_keep_no_byte(h);
    in->framed = true;
  } else if (in->framed && in->head.minor == 0) {
    lua_pushnil(L); /* nothing would tell its client of half a response */
    lua_pushliteral(L, "end");
    return 2;
  }
  begin_body(in);
  if (in->log) mb_http_request_log_begin(in->log);
  return push_head(L, in);
}

/*
 * input:target(), input:host()
 * Return the request target and the host, or nil.
 */
static int input_target(lua_State *L) {
  mb_http_push_span(L, mb_http_input_at(L, 1)->head.target);
  return 1;
}

static int input_host(lua_State *L) {
  mb_http_push_span(L, mb_http_input_at(L, 1)->head.host);
  return 1;
}

/*
 * input:count()
 * Returns how many bytes were received so far for heads and bodies, with their framing.
 */
static int input_count(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)mb_http_input_at(L, 1)->count);
  return 1;
}

/* input:length(): returns what Content-Length says of the body; 0 when there is none. */
static int input_length(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)mb_http_input_at(L, 1)->head.length);
  return 1;
}

/*
 * input:is_ended()
 * Returns whether the whole request was received, so that the next one may be read; and why its body is
 * refused, or will be (nil: nothing is known to be wrong with it).
 */
static int input_is_ended(lua_State *L) {
  const struct mb_http_input *in = mb_http_input_at(L, 1);
  bool ended = in->ended && !in->refused;
  lua_pushboolean(L, ended);
  if (ended) return 1;
  lua_pushstring(L, in->refused ? in->refusal.why : in->foreseen);
  return 2;
}

/*
 * input:is_head()
 * Returns whether the method is HEAD: a response must have no content then (RFC 9110, section 9.3.2). When
 * the head is refused before it was read, the method is what the bytes that have come begin with.
 */
static int input_is_head(lua_State *L) {
  const struct mb_http_input *in = mb_http_input_at(L, 1);
  const struct mb_buf *received = &in->handle->in;
  struct mb_span method = in->head.method;
  if (!method.data) {
    method = (struct mb_span){mb_buf_bytes(received), mb_buf_len(received)};
    if (method.size > 4 && !mb_http_is(method.data[4], MB_HTTP_TOKEN)) method.size = 4;
  }
  lua_pushboolean(L, method.size == 4 && memcmp(method.data, "HEAD", 4) == 0);
  return 1;
}

/* input:is_clean(): returns whether the whole request was received, and nothing after it. */
static int input_is_clean(lua_State *L) {
  const struct mb_http_input *in = mb_http_input_at(L, 1);
  lua_pushboolean(L, in->ended && !in->refused && mb_buf_len(&in->handle->in) == 0);
  return 1;
}

const char *mb_http_input_upgrade_wrong(const struct mb_http_input *in, struct mb_span protocols) {
  const char *why = mb_http_upgrade_wrong(&in->head);
  if (why) return why;
  /* What follows the request has to be the other protocol's (RFC 9110, section 7.8). */
  if (!in->ended) return "the request body was not read to its end";
  if (!protocols.data || mb_http_upgrade_offered(&in->head, protocols)) return NULL;
  return "the client has not offered this protocol in Upgrade";
}

/* ---- the type ---- */

static const luaL_Reg methods[] = {
    {"await", mb_http_input_await},
    {"cookies", mb_http_input_cookies},
    {"count", input_count},
    {"discard", mb_http_input_discard},
    {"field", mb_http_input_field},
    {"fields", mb_http_input_fields},
    {"form", mb_http_input_form},
    {"head", input_head},
    {"host", input_host},
    {"is_clean", input_is_clean},
    {"is_ended", input_is_ended},
    {"is_head", input_is_head},
    {"list", mb_http_input_list},
    {"length", input_length},
    {"multipart", mb_http_input_multipart},
    {"part", mb_http_input_part},
    {"read", mb_http_input_read},
    {"stash", mb_http_input_stash},
    {"target", input_target},
    {NULL, NULL},
};

void mb_http_input_open(lua_State *L) {
  luaL_newmetatable(L, INPUT_TYPE);
  lua_pushcfunction(L, input_gc);
  lua_setfield(L, -2, "__gc");
  mb_lazy_functions_table(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
