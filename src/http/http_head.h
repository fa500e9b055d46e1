/*
 * Reads the head of an HTTP request: request line and field section (RFC 9112, sections 2 to 7). It is
 * strict where two readers could disagree. Uses no Lua and does no I/O.
 */
#ifndef MB_HTTP_HEAD_H
#define MB_HTTP_HEAD_H

#include <stdint.h>

#include "http/http_span.h"

/* No client sends so many fields. There is a limit because each field costs everyone who searches them. */
#define MB_HTTP_FIELDS_MAX 128

struct mb_http_field {
  struct mb_span name, value; /* as sent; the value trimmed */
};

/* The framing of a request body. */
enum mb_http_framing { MB_HTTP_NO_BODY, MB_HTTP_LENGTH, MB_HTTP_CHUNKED };

struct mb_http_head {
  struct mb_span method;
  struct mb_span target; /* as sent */
  struct mb_span path;   /* of the target, with its leading slash; data NULL for "*" */
  struct mb_span query;  /* with its question mark, or empty; data NULL for "*" */
  struct mb_span host;   /* from an absolute target, or else the Host field; data NULL: none */
  bool secure;           /* the target is an https URL */
  int minor;             /* HTTP/1.minor: 0 or 1 */
  enum mb_http_framing framing;
  uint64_t length; /* of the body, for MB_HTTP_LENGTH */
  bool keepalive;  /* the client wishes to use the connection again */
  bool expects;    /* the client waits for a 100 (Continue) */
  unsigned field_count;
  struct mb_http_field fields[MB_HTTP_FIELDS_MAX];
};

/* Why a request is refused. */
struct mb_http_refusal {
  int status;      /* 400, 414, … */
  const char *why; /* a short static text */
};

/*
 * Looks for the end of a head: the empty line behind the request line. Empty lines before the
 * request line are part of the head.
 * scanned  0 for a new head; the function keeps here where to go on, for a call with more bytes of it
 * Returns the size of the head with its empty line, or 0 when it is not complete. When no request
 * can begin like this, *ret_refusal is filled in; otherwise ret_refusal->status is 0.
 */
size_t mb_http_head_end(const char *data, size_t size, size_t *scanned,
                        struct mb_http_refusal *ret_refusal);

/*
 * Reads a complete head. The spans point into data.
 * Returns true, or false with *ret_refusal filled in.
 */
bool mb_http_head_parse(const char *data, size_t size, struct mb_http_head *ret,
                        struct mb_http_refusal *ret_refusal);

/* Returns the first field that has a name (given in lower case), or NULL. */
const struct mb_http_field *mb_http_head_field(const struct mb_http_head *head, const char *name);

#endif
