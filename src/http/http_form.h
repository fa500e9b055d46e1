/*
 * The texts with names and values that HTTP has: application/x-www-form-urlencoded (queries and simple
 * forms), with its percent-encoding, and cookies. Makes text for HTML, too. Uses no Lua and does no I/O.
 */
#ifndef MB_HTTP_FORM_H
#define MB_HTTP_FORM_H

#include "http/http_span.h"

/*
 * Takes the next name=value from the front of a query or a form (without a leading question mark). The
 * name and the value stay encoded. Passes over empty pieces (a&&b); without "=", the value is empty.
 * Returns whether there was one.
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
 * Percent-encodes all characters except letters, digits and "-._~".
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
 * Takes the next cookie from the front of a Cookie field's value (RFC 6265, section 5.4). The name and
 * the value stay as they came, with quotes. Passes over pieces without "=" or without a name.
 * Returns whether there was one.
 */
bool mb_cookie_next(struct mb_span *cookies, struct mb_span *ret_name, struct mb_span *ret_value);

#endif
