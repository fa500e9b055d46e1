/* A second reader of multipart/form-data, for bodies that are in memory as a whole. */
#ifndef MB_FUZZ_MULTIPART_REFERENCE_H
#define MB_FUZZ_MULTIPART_REFERENCE_H

#include "fuzz.h"

struct multipart_reference {
  /*
   * "part;" with its three spans, "data:" with the bytes that are certainly content, "end;", "closed;"
   * and "refused;", in the order in which they come.
   */
  struct fuzz_text events;
  bool closed; /* the body may end here */

  /* The faults of the body where it was refused. Each of them is a reason to refuse it. */
  bool malformed; /* 400 */
  bool too_large; /* 413 */
};

/* Finds the boundary in a Content-Type value, as mb_multipart_boundary does. */
int multipart_reference_boundary(struct mb_span content_type, char *buffer);

void multipart_reference_read(struct mb_span boundary, struct mb_span body,
                              struct multipart_reference *ret);

#endif
