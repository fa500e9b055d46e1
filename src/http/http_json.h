/*
 * What a decoder of JSON has to be told about a text (RFC 8259), since it does not look for it itself. Uses no
 * Lua and does no I/O. It does not tell whether the text is JSON.
 */
#ifndef MB_HTTP_JSON_H
#define MB_HTTP_JSON_H

#include <stddef.h>

#include "http/http_span.h"

enum mb_http_json_kind {
  MB_HTTP_JSON_NOTHING, /* nothing more */
  MB_HTTP_JSON_CONTROL, /* a control character that JSON does not allow there */
  MB_HTTP_JSON_WRONG,   /* a number that decoders read, and that is none: "1." or "-.5" */
  MB_HTTP_JSON_NUMBER,  /* a number that may be out of range: one with an exponent, or a long one */
  MB_HTTP_JSON_NAME,    /* a string of more than MB_HTTP_NAME_SHORT bytes that names a member */
  MB_HTTP_JSON_STRING,  /* any other string of that size */
};

/*
 * Finds the next thing of these kinds.
 * at        where the search begins: 0, or what an earlier call has left; then the first byte behind the thing
 * ret_part  the thing; a string is without its quotes, and with its escapes
 */
enum mb_http_json_kind mb_http_json_next(struct mb_span text, size_t *at, struct mb_span *ret_part);

#endif
