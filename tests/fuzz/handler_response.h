/*
 * A strict reader of HTTP responses, as a suspicious client would have it, for the fuzz
 * harnesses of whole handlers. What does not conform ends the process.
 */
#ifndef MB_FUZZ_HANDLER_RESPONSE_H
#define MB_FUZZ_HANDLER_RESPONSE_H

#include "fuzz.h"

/*
 * What differs between the servers that are tested: fields of the script's table `rules`.
 */
struct response_rules {
  bool dates;          /* every response has a Date, of the server's making */
  bool echoes_version; /* HTTP/1.0 is answered with that version, and ends the connection */
  bool trailers;       /* fields may follow a chunked body */
  bool upgrades;       /* what follows a 101 is another protocol's */
  bool any_status;     /* codes of 600 and more, and content with 205: as the script says */
  bool tells_half;     /* the script says when it leaves a response incomplete, see outcome.half */
};

/* What the response answers; of a request that never was one: method empty. */
struct asked {
  struct mb_span method;
  int minor; /* HTTP/1.minor */
};

struct response {
  int status;
  bool close;            /* the connection ends with it */
  bool is_text;          /* Content-Type: text/plain */
  bool has_length;       /* Content-Length */
  bool until_close;      /* the end of its content is that of the connection */
  struct fuzz_text said; /* status line, fields but Date, and content without its framing */
  size_t content;        /* bytes of that */
};

/*
 * Reads a response from the front of *output, interim ones too.
 * cut  the connection was reset: it may end anywhere
 * Returns false when it was cut off; *output is empty then, and so is said: until_close holds.
 */
bool response_read(struct mb_span *output, const struct asked *asked, bool cut,
                   const struct response_rules *rules, struct response *ret);

#endif
