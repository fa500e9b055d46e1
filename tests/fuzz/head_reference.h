/* A second reader of request heads, written from RFC 9112 alone. It is slow, and reads line by line. */
#ifndef MB_FUZZ_HEAD_REFERENCE_H
#define MB_FUZZ_HEAD_REFERENCE_H

#include "fuzz.h"

/* One head cannot deserve so many refusals. */
#define REFERENCE_FAULTS_MAX 16

struct head_reference {
  /*
   * The faults of the head, in no order; the scanner may report any of them. A head without faults has
   * to be accepted.
   */
  int faults[REFERENCE_FAULTS_MAX]; /* statuses, each once */
  unsigned fault_count;
  bool may_refuse; /* the scanner may refuse with 400, or accept */

  struct mb_span method, target, path, query, host;
  int minor;
  enum mb_http_framing framing;
  uint64_t length;
  bool keepalive, expects;
};

/* Reads a complete head, as mb_http_head_end delimits it. */
void head_reference_read(struct mb_span head, struct head_reference *ret);

/* Returns whether the head deserves to be refused with the status. */
bool head_reference_deserves(const struct head_reference *r, int status);

/* Takes the next line, without its line end. Returns whether there was one. */
bool head_reference_line(struct mb_span *rest, struct mb_span *ret_line);

#endif
