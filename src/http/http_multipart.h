/*
 * multipart/form-data (RFC 7578, RFC 2046 section 5.1), as browsers send it, from bytes in any
 * pieces. Content is reported where it lies, not copied. Neither Lua nor I/O, and no memory of its
 * own.
 */
#ifndef MB_HTTP_MULTIPART_H
#define MB_HTTP_MULTIPART_H

#include "http/http_head.h"

#define MB_MULTIPART_BOUNDARY_MAX 70   /* RFC 2046 */
#define MB_MULTIPART_HEAD_MAX     8192 /* bytes of one part's fields */
#define MB_MULTIPART_FIELDS_MAX   32   /* fields of one part */

enum mb_multipart_event {
  MB_MULTIPART_MORE, /* all bytes are dealt with; nothing else to report */
  MB_MULTIPART_PART, /* a part begins: name, file_name, content_type are valid until the next call */
  MB_MULTIPART_DATA,   /* a stretch of the part's content: data, valid as long as the bytes given */
  MB_MULTIPART_END,    /* the part has ended */
  MB_MULTIPART_CLOSED, /* the closing delimiter: what follows is the epilogue, passed over as MORE */
  MB_MULTIPART_REFUSED, /* refusal says why; final */
};

struct mb_multipart {
  int state;                                     /* of http_multipart.c */
  char delimiter[MB_MULTIPART_BOUNDARY_MAX + 4]; /* CR LF "--" boundary */
  size_t delimiter_size;
  size_t matched; /* bytes of the delimiter that the last bytes were */
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
 * The boundary in a Content-Type value.
 * buffer  room for it, of MB_MULTIPART_BOUNDARY_MAX bytes
 * Returns its size, 0 when the value is no multipart/form-data, or -1 when it is one without a valid
 * boundary (none, empty, too long, characters that RFC 2046 does not allow, given twice).
 */
int mb_multipart_boundary(struct mb_span content_type, char *buffer);

/* Begins a body. The boundary is one that mb_multipart_boundary gave. */
void mb_multipart_init(struct mb_multipart *m, struct mb_span boundary);

/*
 * Goes on to the next event. Takes what it has dealt with from the front of *bytes; to be called
 * until it says MB_MULTIPART_MORE, then with the bytes that come next.
 */
enum mb_multipart_event mb_multipart_next(struct mb_multipart *m, struct mb_span *bytes);

/* Whether the body may end here: the closing delimiter was seen. */
bool mb_multipart_is_closed(const struct mb_multipart *m);

#endif
