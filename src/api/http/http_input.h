/*
 * What an HTTP client sends, as an object for the Lua modules: heads, body content without its
 * framing, the events of multipart/form-data. Never waits: its methods say "block", and policy (what
 * to wait for, how long, what to answer) is Lua's.
 */
#ifndef MB_HTTP_INPUT_H
#define MB_HTTP_INPUT_H

#include <lua.h>

#include "base/buf.h"
#include "socket/handle.h"
#include "http/http_chunked.h"
#include "http/http_head.h"
#include "http/http_multipart.h"

struct mb_http_input {
  struct mb_handle *handle; /* kept alive as the user value */
  size_t head_limit;        /* bytes of a request head */
  uint64_t body_limit;      /* bytes of content */

  /* The head of the current request; a copy, as the handle's buffer moves on. */
  char *head_bytes;
  size_t head_capacity;
  size_t scanned;
  struct mb_http_head head;

  /* The body. */
  bool ended;
  uint64_t left; /* of a body with a length */
  struct mb_http_chunked chunked;
  uint64_t received;   /* content so far */
  struct mb_buf stash; /* content that was received while nobody wanted it yet */
  bool moved;          /* something has been received since a method has said "block" */
  bool refused;        /* no more can be read of it: refusal says why */
  struct mb_http_refusal refusal;
  struct mb_multipart *multipart; /* while a body is read as such */
  struct mb_span held;            /* content of a part that did not fit into a piece */
};

/*
 * core.input(socket, head_limit, body_limit)
 * Both in bytes; body_limit: false for none. Returns the object.
 */
int mb_http_input_new(lua_State *L);

/* Registers the type. May throw. */
void mb_http_input_open(lua_State *L);

/* The object at an index; throws when it is none. */
struct mb_http_input *mb_http_input_at(lua_State *L, int index);

#endif
