/* The path of a URL as the path of a file below a directory. */
#ifndef MB_HTTP_FILE_PATH_H
#define MB_HTTP_FILE_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "http/http_span.h"

struct mb_http_file_path {
  size_t size;
  bool is_directory; /* it ends with a slash, or is empty */
  bool
      is_hidden; /* a segment begins with a dot; ".well-known" as the first one (RFC 8615) is not hidden */
};

/*
 * Makes a path of a file: relative, without slashes at both ends, "." for the directory itself.
 * to       room for path.size + 2 bytes; the result has a NUL behind it
 * path     of a URL, without its leading slash
 * decoded  its segments are decoded already
 * Returns 0; 400 when no file can have such a name (http/http_segment.h); or 404 for an empty segment, which would be
 * another name of the same file, one that guards of a path do not know.
 */
int mb_http_file_path(char *to, struct mb_span path, bool decoded, struct mb_http_file_path *ret);

#endif
