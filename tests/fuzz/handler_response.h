/*
 * A strict reader of HTTP responses, for the fuzz harnesses of whole handlers. It is as suspicious as a
 * client may be: a response that does not conform ends the process.
 */
#ifndef MB_FUZZ_HANDLER_RESPONSE_H
#define MB_FUZZ_HANDLER_RESPONSE_H

#include "fuzz.h"

/*
 * The rules that differ between the servers under test. They are fields of the script's table `rules`.
 */
struct response_rules {
  bool dates;          /* every response has a Date, which the server makes */
  bool echoes_version; /* HTTP/1.0 is answered with that version, and ends the connection */
  bool trailers;       /* fields may follow a chunked body */
  bool upgrades;       /* the bytes behind a 101 belong to another protocol */
  bool any_status;     /* the script may send codes of 600 and more, and content with 205 */
  bool tells_half;     /* the script says when it leaves a response incomplete, see outcome.half */
};

/* The request that a response answers. The method is empty when there was no well-formed request. */
struct asked {
  struct mb_span method;
  int minor; /* HTTP/1.minor */
};

struct response {
  int status;
  bool close;       /* the connection ends after the response */
  bool is_text;     /* Content-Type: text/plain */
  bool has_length;  /* Content-Length */
  bool until_close; /* the content ends with the connection */
  struct fuzz_text
      said;       /* status line, content without framing, fields but Date and Connection: close */
  size_t content; /* bytes of content in said */
};

/*
 * Reads a response, which may be an interim one, from the front of *output.
 * cut  the connection was reset: the response may end anywhere
 * Returns false when it was cut off. Then *output and said are empty; until_close holds.
 */
bool response_read(struct mb_span *output, const struct asked *asked, bool cut,
                   const struct response_rules *rules, struct response *ret);

#endif
