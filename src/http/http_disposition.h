/* Reads the Content-Disposition of a part of multipart/form-data (RFC 7578, section 4.2; RFC 8187), as
 * browsers and mail libraries write it. Has no memory of its own: decodes values where they stand. */
#ifndef MB_HTTP_DISPOSITION_H
#define MB_HTTP_DISPOSITION_H

#include "http/http_span.h"

/*
 * Reads a value.
 * head           the bytes that the value is a part of; it writes to them
 * ret_name       the name, decoded, within head
 * ret_file_name  the file name, in the same way: filename* when one was sent that can be read, or else
 *                filename; without line ends; data NULL: none was sent
 * Returns NULL, or what is wrong with it.
 */
const char *mb_http_disposition(char *head, struct mb_span value, struct mb_span *ret_name,
                                struct mb_span *ret_file_name);

#endif
