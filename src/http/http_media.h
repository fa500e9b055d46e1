/* The media types of files of the web. */
#ifndef MB_HTTP_MEDIA_H
#define MB_HTTP_MEDIA_H

#include "http/http_span.h"

/* Returns the media type for an extension, which is given without its dot, in any case; NULL: it is not listed. */
const char *mb_http_media_type(struct mb_span extension);

#endif
