/* The WebSocket object: messages over a socket object (RFC 6455). websocket*.c share this. */
#ifndef MB_WEBSOCKET_H
#define MB_WEBSOCKET_H

#include <lauxlib.h>

#include "base/buf.h"
#include "http/utf8_check.h"
#include "http/websocket_frame.h"
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

/* The connection is lost, or the peer breaks a rule: nothing more comes or goes. why: for the script and the log. */
void mb_websocket_lose(struct mb_websocket *w, const char *why);
void mb_websocket_break(lua_State *L, struct mb_websocket *w, unsigned code, const char *why);

/* Native module mb.websocket.core. */
int mb_websocket_open(lua_State *L);

#endif
