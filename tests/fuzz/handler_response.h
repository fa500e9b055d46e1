/*
 * A strict reader of HTTP responses, as a suspicious client would have it, for the handler's fuzz
 * harness. What does not conform ends the process.
 */
#ifndef MB_FUZZ_HANDLER_RESPONSE_H
#define MB_FUZZ_HANDLER_RESPONSE_H

#include "fuzz.h"

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
  struct fuzz_text said; /* status line, fields but Date, and content without its framing */
  size_t content;        /* bytes of that */
};

/*
 * Reads a response from the front of *output, interim ones too.
 * cut  the connection was reset: it may end anywhere
 * Returns false when it was cut off; *output is empty then, and so is said.
 */
bool response_read(struct mb_span *output, const struct asked *asked, bool cut,
                   struct response *ret);

#endif
