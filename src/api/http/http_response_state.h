/*
 * The state of a response, which the files of the response writer share. The stack of a method has the
 * request at index 1, its response at index 2, and the arguments from index 3 on.
 */
#ifndef MB_HTTP_RESPONSE_STATE_H
#define MB_HTTP_RESPONSE_STATE_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "http/http_span.h"
#include "socket/handle.h"

#define MB_HTTP_RESPONSE_TYPE "mb.http.response" /* of the userdata */

/* States, as bits. */
enum mb_http_response_state {
  MB_HTTP_RESPONSE_START = 1,    /* no status yet */
  MB_HTTP_RESPONSE_HEAD = 2,     /* fields may be sent */
  MB_HTTP_RESPONSE_BODY = 4,     /* the head is finished, though it may not have gone out yet */
  MB_HTTP_RESPONSE_FINISHED = 8, /* the body is finished, too */
  MB_HTTP_RESPONSE_FILE = 16,    /* mb.http.send_file is sending a file */
  MB_HTTP_RESPONSE_BROKEN = 32,  /* a step was interrupted: the response cannot be completed */
};

enum mb_http_response_call {
  MB_HTTP_RESPONSE_SEND_STATUS,
  MB_HTTP_RESPONSE_SEND_HEADER,
  MB_HTTP_RESPONSE_CLOSE_AFTER_FINISH,
  MB_HTTP_RESPONSE_MONOLOGUE,
  MB_HTTP_RESPONSE_FINISH_HEADERS,
  MB_HTTP_RESPONSE_SEND_DATA,
  MB_HTTP_RESPONSE_SEND_FILE,
  MB_HTTP_RESPONSE_FLUSH,
  MB_HTTP_RESPONSE_FINISH,
  MB_HTTP_RESPONSE_END_FILE,
};

struct mb_http_response {
  struct mb_handle *handle; /* kept alive as the user value */
  unsigned state;
  int code;       /* of the status */
  int minor;      /* of the request: HTTP/1.minor */
  bool is_head;   /* the request's method is HEAD: the body is counted, not sent */
  bool has_body;  /* the request has a body */
  bool keepalive; /* the connection may be used again */
  bool used;      /* request.fresh is false */
  bool interim;   /* the status is 1xx, but not 101: another one follows */
  bool dated;     /* the script has sent a Date */
  bool upgrades;  /* the script has sent an Upgrade */
  bool chunked;
  bool has_length;          /* the head has a Content-Length */
  bool length_of_file;      /* send_file has set the Content-Length */
  bool head_pending;        /* the head has not gone out yet */
  uint64_t length;          /* value of the Content-Length */
  uint64_t sent;            /* bytes of body so far */
  size_t minimum;           /* bytes of body that are gathered before they are sent */
  struct mb_buf head, body; /* gathered */
  size_t static_at;         /* where those of static_headers are in the head */
  size_t static_size;       /* their bytes; 0 once nothing of them may be taken out any more */
};

/*
 * Returns the response of the request at index 1, and inserts it at index 2; throws when the call is not
 * allowed now. A function that changes the response sets its state to MB_HTTP_RESPONSE_BROKEN until the
 * change is complete, as any step of the change may throw.
 */
struct mb_http_response *mb_http_response_enter(lua_State *L, enum mb_http_response_call call);

/* Throws a message that names the call and the script's line. */
int mb_http_response_misused(lua_State *L, enum mb_http_response_call call, const char *format,
                             ...);

/* Throws: the call is not allowed in the state. */
int mb_http_response_refuse_state(lua_State *L, enum mb_http_response_call call, unsigned state);

/* Makes the response the last one of its connection. */
void mb_http_response_end_connection(lua_State *L, struct mb_http_response *r);

/* Throws when a 101 must not answer the request: see mb_http_input_upgrade_wrong. */
void mb_http_response_check_upgrade(lua_State *L, enum mb_http_response_call call,
                                    struct mb_span protocols);

/* Pushes a field of the request's connection (mb.http.wire). */
void mb_http_response_push_of_wire(lua_State *L, const char *name);

#endif
