/*
 * What the files of the response writer share. On the stack of a method: the request at index 1, its
 * response at index 2, arguments from index 3 on.
 */
#ifndef MB_HTTP_RESPONSE_STATE_H
#define MB_HTTP_RESPONSE_STATE_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

#define MB_RESPONSE_TYPE "mb.http.response" /* of the userdata */

/* States, as bits. */
enum mb_response_state {
  MB_RESPONSE_START = 1,    /* no status yet */
  MB_RESPONSE_HEAD = 2,     /* fields may be sent */
  MB_RESPONSE_BODY = 4,     /* the head is finished, though it may not have gone out yet */
  MB_RESPONSE_FINISHED = 8, /* the body, too */
  MB_RESPONSE_FILE = 16,    /* a file is being sent, by mb.http.send_file */
  MB_RESPONSE_BROKEN = 32,  /* half of something is there: only a reset is left */
};

enum mb_response_call {
  MB_RESPONSE_SEND_STATUS,
  MB_RESPONSE_SEND_HEADER,
  MB_RESPONSE_CLOSE_AFTER_FINISH,
  MB_RESPONSE_MONOLOGUE,
  MB_RESPONSE_FINISH_HEADERS,
  MB_RESPONSE_SEND_DATA,
  MB_RESPONSE_SEND_FILE,
  MB_RESPONSE_FLUSH,
  MB_RESPONSE_FINISH,
  MB_RESPONSE_END_FILE,
};

struct mb_response {
  unsigned state;
  int code;       /* of the status */
  int minor;      /* of the request: HTTP/1.minor */
  bool is_head;   /* the request's method is HEAD: the body is counted, not sent */
  bool keepalive; /* the connection may be used again */
  bool used;      /* request.fresh is false */
  bool interim;   /* the status is 1xx: another one follows */
  bool dated;     /* the script has sent a Date */
  bool chunked;
  bool has_length;          /* the head has a Content-Length */
  bool length_of_file;      /* which send_file has set */
  bool head_pending;        /* the head has not gone out yet */
  uint64_t length;          /* what Content-Length says */
  uint64_t sent;            /* bytes of body so far */
  size_t minimum;           /* bytes of body that are gathered before they are sent */
  struct mb_buf head, body; /* gathered */
};

/*
 * The response of the request, which is put at index 2; throws when the call is not allowed now.
 * Whoever changes the response sets its state to MB_RESPONSE_BROKEN until the change is complete, as
 * any step of it may throw.
 */
struct mb_response *mb_response_enter(lua_State *L, enum mb_response_call call);

/* Throws; the message names the call and points at the script's line. */
int mb_response_misused(lua_State *L, enum mb_response_call call, const char *format, ...);

/* Throws: the call does not belong into the state. */
int mb_response_refuse_state(lua_State *L, enum mb_response_call call, unsigned state);

/*
 * Sends an interim response, which is its head. The response itself is still to come.
 * then  what the method goes on with, should a stream handler yield meanwhile; then this does not
 *       return
 */
void mb_response_end_interim(lua_State *L, struct mb_response *r, lua_KFunction then);

/* The connection is not used again after the response. */
void mb_response_end_connection(lua_State *L, struct mb_response *r);

/* Pushes a field of the request's connection (mb.http.wire). */
void mb_response_push_of_wire(lua_State *L, const char *name);

/* Adds to what is gathered. Throws when memory runs out. */
void mb_response_append(lua_State *L, struct mb_buf *to, const char *text, size_t size);
void mb_response_append_text(lua_State *L, struct mb_buf *to, const char *text);

/* Methods of the request; see http_response_head.c. */
int mb_response_send_status(lua_State *L);
int mb_response_send_header(lua_State *L);

/*
 * Adds to the head what the script has not said: the date, how the body is framed, whether the
 * connection goes on.
 * size  of the whole body; NULL when that is not known yet
 */
void mb_response_end_head(lua_State *L, struct mb_response *r, const uint64_t *size);

/* Whether the response has no body, whatever a script sends. Those to HEAD are another matter. */
bool mb_response_is_bodyless(const struct mb_response *r);

#endif
