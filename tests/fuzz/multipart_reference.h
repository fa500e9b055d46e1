/* A second reader of multipart/form-data, for bodies that lie in memory as a whole. */
#ifndef MB_FUZZ_MULTIPART_REFERENCE_H
#define MB_FUZZ_MULTIPART_REFERENCE_H

#include "fuzz.h"

struct multipart_reference {
  /*
   * "part;" with its three spans, "data:" with its content as far as it is known to be content,
   * "end;", "closed;", and "refused;", in the order in which they come.
   */
  struct fuzz_text events;
  bool closed; /* the body may end here */

  /* What is wrong with it where it was refused: any of these is a reason. */
  bool malformed; /* 400 */
  bool too_large; /* 413 */
};

/* The boundary in a Content-Type value, as mb_multipart_boundary finds it. */
int multipart_reference_boundary(struct mb_span content_type, char *buffer);

void multipart_reference_read(struct mb_span boundary, struct mb_span body,
                              struct multipart_reference *ret);

#endif
