/* The Accept-Encoding field (RFC 9110, section 12.5.3). */
#ifndef MB_HTTP_CODING_H
#define MB_HTTP_CODING_H

#include "http/http_head.h"

/*
 * Returns the weight of a content coding, given in lower case, in thousandths: 0: the client does not take it, or has
 * not said that it does; 1000: gladly. A malformed weight counts as 0.
 */
unsigned mb_http_coding_weight(const struct mb_http_head *head, const char *coding);

#endif
