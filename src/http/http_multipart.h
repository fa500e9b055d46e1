/*
 * Reads multipart/form-data (RFC 7578, RFC 2046 section 5.1), as browsers send it, from bytes in any
 * pieces. Reports content where it lies, without a copy. Uses no Lua, does no I/O, and has no memory of
 * its own.
 */
#ifndef MB_HTTP_MULTIPART_H
#define MB_HTTP_MULTIPART_H

#include "http/http_head.h"

#define MB_MULTIPART_BOUNDARY_MAX 70   /* RFC 2046 */
#define MB_MULTIPART_HEAD_MAX     8192 /* bytes of one part's fields */
#define MB_MULTIPART_FIELDS_MAX   32   /* fields of one part */

enum mb_multipart_event {
  MB_MULTIPART_MORE, /* all bytes are dealt with, and there is nothing else to report */
  MB_MULTIPART_PART, /* a part begins: name, file_name, content_type are valid until the next call */
  MB_MULTIPART_DATA,   /* a stretch of the part's content: data, valid as long as the bytes given */
  MB_MULTIPART_END,    /* the part has ended */
  MB_MULTIPART_CLOSED, /* the closing delimiter came; the epilogue behind it is passed over as MORE */
  MB_MULTIPART_REFUSED, /* refusal says why; final */
};

struct mb_multipart {
  int state;                                     /* a value of the enum in http_multipart.c */
  char delimiter[MB_MULTIPART_BOUNDARY_MAX + 4]; /* CR LF "--" boundary */
  size_t delimiter_size;
  size_t matched; /* bytes of the delimiter that have come last; some states count others */
  size_t head_size;
  char head[MB_MULTIPART_HEAD_MAX];

  /* Results of mb_multipart_next. */
  struct mb_span name;         /* decoded, into head */
  struct mb_span file_name;    /* decoded, into head; data NULL: none was sent */
  struct mb_span content_type; /* as sent, into head; data NULL: none was sent */
  struct mb_span data;
  struct mb_http_refusal refusal;
};

/*
 * Finds the boundary in a Content-Type value.
 * buffer  room for it, of MB_MULTIPART_BOUNDARY_MAX bytes
 * Returns its size, 0 when the value is no multipart/form-data, or -1 when it is one without a valid
 * boundary (none, empty, too long, characters that RFC 2046 does not allow, given twice).
 */
int mb_multipart_boundary(struct mb_span content_type, char *buffer);

/* Begins a body. The boundary comes from mb_multipart_boundary. */
void mb_multipart_init(struct mb_multipart *m, struct mb_span boundary);

/*
 * Goes on to the next event, and takes the bytes that it has dealt with from the front of *bytes. The
 * caller repeats that until it returns MB_MULTIPART_MORE, and then goes on with the bytes that come next.
 */
enum mb_multipart_event mb_multipart_next(struct mb_multipart *m, struct mb_span *bytes);

/* Returns whether the body may end here: the closing delimiter has come. */
bool mb_multipart_is_closed(const struct mb_multipart *m);

#endif
