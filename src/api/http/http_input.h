/*
 * Input from an HTTP client, as an object for the Lua modules: heads, body content without its framing, the
 * events of multipart/form-data. But for await, no method waits: it returns "block", and Lua decides what to wait
 * for, how long, and what to answer.
 */
#ifndef MB_HTTP_INPUT_H
#define MB_HTTP_INPUT_H

#include <lua.h>

#include "base/buf.h"
#include "http/http_chunked.h"
#include "http/http_head.h"
#include "http/http_multipart.h"
#include "socket/handle.h"

struct mb_http_parts {
  struct mb_multipart reader;
  struct mb_span held; /* content that did not fit into a piece */
  struct mb_buf value; /* the content of a part that is kept, so far */
};

struct mb_http_request_log;

struct mb_http_input {
  struct mb_handle *handle;        /* kept alive as the user value */
  struct mb_http_request_log *log; /* NULL: there is no request log */
  size_t head_limit;               /* bytes of a request head */
  uint64_t body_limit;             /* bytes of content */

  /* The head of the current request. It is a copy, as the handle's buffer moves on. */
  void *head_bytes;
  size_t head_capacity;
  size_t scanned;
  struct mb_http_head head;

  /* The body. */
  bool ended;
  uint64_t left; /* of a body with a length */
  struct mb_http_chunked chunked;
  uint64_t received;   /* content so far */
  struct mb_buf stash; /* content that was received while nobody wanted it yet */
  uint64_t count; /* bytes of heads and bodies that the input has received, with their framing */
  bool moved;     /* something was received since a method has returned "block" */
  bool framed;    /* on a Unix socket, a request has come that shows_its_end */
  bool refused;   /* the request cannot be read any further; refusal says why */
  struct mb_http_refusal refusal;
  struct mb_http_parts *parts; /* NULL: the body is not read as multipart/form-data */
  /* why the body will be refused, once somebody has looked; NULL: nothing is wrong */
  const char *foreseen;
};

/*
 * core.input(socket, head_limit, body_limit)
 * Returns the object. The limits are in bytes; body_limit may be false: no limit.
 */
int mb_http_input_new(lua_State *L);

/* Registers the type. May throw. */
void mb_http_input_open(lua_State *L);

/*
 * Returns why a 101 must not answer the request that was read last, as a short static text; NULL: it may.
 * protocols  those that the 101 names in Upgrade; data NULL: they are not known yet
 */
const char *mb_http_input_upgrade_wrong(const struct mb_http_input *in, struct mb_span protocols);

/* Returns the object at an index; throws when there is another value. */
struct mb_http_input *mb_http_input_at(lua_State *L, int index);

#endif
