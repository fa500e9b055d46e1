/* The WebSocket object: messages over a socket object (RFC 6455). websocket*.c share this. */
#ifndef MB_WEBSOCKET_H
#define MB_WEBSOCKET_H

#include <lauxlib.h>

#include "base/buf.h"
#include "base/zlib.h"
#include "http/utf8_check.h"
#include "http/websocket_frame.h"
#include "http/websocket_offer.h"
#include "socket/handle_over.h"

#define MB_WEBSOCKET_TYPE "websocket"

/* States only move forward. */
enum mb_websocket_state {
  MB_WEBSOCKET_OPEN,    /* messages go in both directions */
  MB_WEBSOCKET_CLOSING, /* we have sent a close, and wait for that of the peer */
  MB_WEBSOCKET_CLOSED,  /* no message comes or goes any more */
};

struct mb_websocket {
  struct mb_over_handle over; /* first: poll waits for what is below */
  enum mb_websocket_state state;
  bool is_client;

  /* Limits. Times are in microseconds; 0: none. */
  uint64_t max_message;
  int64_t ping_interval, close_timeout, send_timeout;

  /* The frame that comes. */
  bool in_frame;
  struct mb_websocket_frame frame;
  uint64_t left; /* bytes of its payload that have not come */
  size_t control_size;
  char control[MB_WEBSOCKET_CONTROL_MAX];

  /* The message that comes, in one frame or more. */
  uint8_t opcode; /* 0: none has begun */
  unsigned fragments;
  struct mb_utf8 utf8;
  struct mb_buf message;

  /* permessage-deflate (RFC 7692). */
  bool deflates; /* it was agreed on; what follows is zeros without it */
  struct mb_websocket_side ours, theirs;
  uint64_t min_size;  /* a message of fewer bytes goes as it is */
  bool compressed;    /* the message that comes */
  unsigned char tail; /* bytes taken of the end that each has and that is not sent */
  struct mb_zlib *inflater, *deflater; /* NULL: not in use */
  struct mb_buf packed;                /* the message that is being sent */

  bool pong_wanted; /* for the payload in `pong`: there was no room in the queue */
  size_t pong_size;
  char pong[MB_WEBSOCKET_CONTROL_MAX];

  bool
      sending; /* a message is half sent: nothing may come between, such as what a finalizer sends */

  int64_t heard;   /* when input came last, by mb_now_usec */
  int64_t pinged;  /* when we have sent a ping that nothing has answered yet; 0: none */
  int64_t closing; /* when we have sent a close */

  unsigned close_code; /* of the peer; 0: there was no close yet */
  size_t close_reason_size;
  char close_reason[MB_WEBSOCKET_CONTROL_MAX];
  char wrong[96]; /* why it was broken off; "": it was not */
};

extern const luaL_Reg mb_websocket_receive_methods[];
extern const luaL_Reg mb_websocket_send_methods[];

/* Returns the object at an index; throws when there is another value. */
struct mb_websocket *mb_websocket_at(lua_State *L, int index);

/* What has become of an attempt to take a message from what has come. */
enum mb_websocket_taken {
  MB_WEBSOCKET_MESSAGE, /* it and its kind are on the stack */
  MB_WEBSOCKET_NEEDS,   /* more input is needed */
  MB_WEBSOCKET_ENDED,   /* no message comes any more */
};

/* Takes the next message from the buffer of the handle. Answers pings and a close. May throw. */
enum mb_websocket_taken mb_websocket_take(lua_State *L, struct mb_websocket *w);

/*
 * Queues a frame with a short payload, and sends what the system takes now. Does nothing when output has ended. May
 * throw when memory runs out.
 */
void mb_websocket_send_control(lua_State *L, struct mb_websocket *w, uint8_t opcode,
                               const char *data, size_t size);

/* Queues a close. code: MB_WEBSOCKET_NO_CODE sends none. */
void mb_websocket_send_close(lua_State *L, struct mb_websocket *w, unsigned code,
                             const char *reason, size_t size);

/* ---- permessage-deflate ---- */

/* core.agree(offers, bits, no_context_takeover), and what core.over takes of its result: see there. */
int mb_websocket_agree_on(lua_State *L);
void mb_websocket_set_terms(lua_State *L, int index, struct mb_websocket *w);

/* What has become of a piece of a compressed message. */
enum mb_websocket_inflated {
  MB_WEBSOCKET_INFLATED,
  MB_WEBSOCKET_DISTURBED,  /* nothing is done: finalizers have run, and may have received */
  MB_WEBSOCKET_NO_DEFLATE, /* the message is broken */
};

/*
 * Decompresses a piece of a message into w->message, up to one byte more than max_message allows. Throws when memory
 * runs out.
 * ret_used, ret_made  get how many bytes were used, and how many came of them; see mb_zlib_inflate
 */
enum mb_websocket_inflated mb_websocket_inflate(lua_State *L, struct mb_websocket *w,
                                                const char *data, size_t size, size_t *ret_used,
                                                size_t *ret_made);

/* A whole message and the tail have been taken. Returns whether they end where a message has to end. */
bool mb_websocket_inflate_end(struct mb_websocket *w);

/*
 * Compresses a message that is to be sent next into w->packed. Until it is sent or queued, no other may be compressed.
 * Returns false when it goes as it is: it is small, or there is no memory.
 */
bool mb_websocket_deflate(struct mb_websocket *w, const char *data, size_t size);

/* The peer does not get the message that was compressed last: the next one may not refer to it. */
void mb_websocket_deflate_lost(struct mb_websocket *w);

/* The message was sent or queued. */
void mb_websocket_deflate_done(struct mb_websocket *w);

/* No message comes or goes any more. */
void mb_websocket_deflate_end(struct mb_websocket *w);

/* ---- the end ---- */

/* The connection is lost, or the peer breaks a rule: nothing more comes or goes. why: for the script and the log. */
void mb_websocket_lose(struct mb_websocket *w, const char *why);
void mb_websocket_break(lua_State *L, struct mb_websocket *w, unsigned code, const char *why);

/* Native module mb.websocket.core. */
int mb_websocket_open(lua_State *L);

/* Loads zlib for a script that has the module: the process is about to lock itself. */
void mb_websocket_before_lock(void);

#endif
