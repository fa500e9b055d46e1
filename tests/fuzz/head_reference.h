/* A second reader of request heads, written for its own sake from RFC 9112: slow, and by lines. */
#ifndef MB_FUZZ_HEAD_REFERENCE_H
#define MB_FUZZ_HEAD_REFERENCE_H

#include "fuzz.h"

/* More refusals than one head can deserve. */
#define REFERENCE_FAULTS_MAX 16

struct head_reference {
  /*
   * What is wrong with the head, in no order: which fault is reported is the scanner's choice.
   * None: it has to be accepted.
   */
  int faults[REFERENCE_FAULTS_MAX]; /* statuses, each once */
  unsigned fault_count;
  bool may_refuse; /* a 400 is fine, and so is none */

  struct mb_span method, target, path, query, host;
  int minor;
  enum mb_http_framing framing;
  uint64_t length;
  bool keepalive, expects;
};

/* Reads a complete head, as mb_http_head_end delimits it. */
void head_reference_read(struct mb_span head, struct head_reference *ret);

/* Whether the head deserves to be refused with the status. */
bool head_reference_deserves(const struct head_reference *r, int status);

/* The next line, without its line end. Returns whether there was one. */
bool head_reference_line(struct mb_span *rest, struct mb_span *ret_line);

#endif
