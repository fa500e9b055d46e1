/*
 * What HTTP writes into lines of name and value: application/x-www-form-urlencoded (queries and
 * simple forms), percent-encoding, cookies; and text for HTML. Neither Lua nor I/O.
 */
#ifndef MB_HTTP_FORM_H
#define MB_HTTP_FORM_H

#include "http/http_span.h"

/*
 * The next name=value of a query or a form (without a leading question mark); encoded as they came.
 * Empty pieces (a&&b) are passed over; without "=", the value is empty. Takes it from the front of
 * *form. Returns whether there was one.
 */
bool mb_form_next(struct mb_span *form, struct mb_span *ret_name, struct mb_span *ret_value);

/*
 * Decodes percent-encoding; a bad escape ("%", "%4", "%zz") stays as it is.
 * plus  "+" is a space
 * to    room for from.size bytes; may be from.data
 * Returns the number of bytes written.
 */
size_t mb_form_decode(char *to, struct mb_span from, bool plus);

/*
 * Percent-encodes all but letters, digits and "-._~".
 * to  room for 3 * from.size bytes
 * Returns the number of bytes written.
 */
size_t mb_form_encode(char *to, struct mb_span from);

/*
 * Replaces & < > " ' by HTML's character references.
 * to  room for 6 * from.size bytes
 * Returns the number of bytes written.
 */
size_t mb_html_encode(char *to, struct mb_span from);

/*
 * The next cookie of a Cookie field's value (RFC 6265, section 5.4): name and value as they came (quotes stay). Pieces
 * without "=" or without a name are passed over. Takes it from the front of *cookies. Returns whether
 * there was one.
 */
bool mb_cookie_next(struct mb_span *cookies, struct mb_span *ret_name, struct mb_span *ret_value);

#endif
