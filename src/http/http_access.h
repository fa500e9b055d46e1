/*
 * Lines of the request log: one request as one line of text. What a client has sent is escaped, and cut where it
 * is long. Uses no Lua and does no I/O.
 */
#ifndef MB_HTTP_ACCESS_H
#define MB_HTTP_ACCESS_H

#include <stdint.h>
#include <time.h>

#include "http/http_span.h"

/* A further format is a value here, and a row of `writers` in http_access.c. */
enum mb_http_access_format {
  MB_HTTP_ACCESS_NONE, /* there is no request log */
  MB_HTTP_ACCESS_COMBINED,
  MB_HTTP_ACCESS_JSON,
  MB_HTTP_ACCESS_DEV, /* for a person at a terminal; no word of the command line selects it */
};

/*
 * A line with its newline: a pipe takes PIPE_BUF bytes, 4096 on Linux, in one piece. So lines of several processes
 * do not mix. The limits of the fields below add up to less.
 */
#define MB_HTTP_ACCESS_LINE_MAX 4096

/* The most bytes of a field in the line, with its escapes. The last three of a field that is cut are "...". */
enum {
  MB_HTTP_ACCESS_METHOD_MAX = 64,
  MB_HTTP_ACCESS_TARGET_MAX = 2048, /* also of a request line that has no method and no target */
  MB_HTTP_ACCESS_PROTOCOL_MAX = 16,
  MB_HTTP_ACCESS_HOST_MAX = 256,
  MB_HTTP_ACCESS_REFERER_MAX = 768,
  MB_HTTP_ACCESS_AGENT_MAX = 512,
};

/* One request. A span without data says that the client has not sent this. */
struct mb_http_access {
  const char *peer;                        /* its address, at most 128 bytes */
  unsigned port;                           /* 0: the peer has none */
  struct tm when;                          /* local time of the beginning */
  int msec;                                /* of the second */
  int64_t usec;                            /* how long it took */
  struct mb_span line;                     /* the request line as it came */
  struct mb_span method, target, protocol; /* its parts, when it has them */
  int status;
  uint64_t bytes;    /* of the response body */
  uint64_t bytes_in; /* of the request body */
  struct mb_span host, referer, agent;
  bool coloured; /* MB_HTTP_ACCESS_DEV has colours */
};

/* Splits a request line into its three parts. When it has not these three, none of them has data. */
void mb_http_access_split(struct mb_http_access *access);

/*
 * Writes the line of a request, without a newline, for which there is room. Nothing in it depends on the locale.
 * It is ASCII without control characters, but for the colours.
 * Returns its size, which is less than MB_HTTP_ACCESS_LINE_MAX.
 */
size_t mb_http_access_line(enum mb_http_access_format format, const struct mb_http_access *access,
                           char to[MB_HTTP_ACCESS_LINE_MAX]);

/*
 * Writes a field as it stands in MB_HTTP_ACCESS_COMBINED, with a NUL behind it: a quotation mark, a backslash, and
 * what is no printable ASCII are \xHH.
 * limit  of the field, see above; `to` has room for one byte more
 */
void mb_http_access_field(struct mb_span field, size_t limit, char *to);

#endif
