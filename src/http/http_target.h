/* Reads the request target and the host (RFC 9112, section 3.2; RFC 9110, section 7.2). */
#ifndef MB_HTTP_TARGET_H
#define MB_HTTP_TARGET_H

#include "http/http_head.h"

/*
 * Returns whether it is a host name, an IPv4 address or an [IPv6] address (or one of a later version), with
 * or without a port; or empty. A port without a host is no host (RFC 9110, section 4.2.1).
 */
bool mb_http_host_valid(struct mb_span host);

/*
 * Takes head->target (MB_HTTP_TARGET characters) apart into path and query; for an absolute form also into
 * host and secure, which are untouched otherwise. The path of an absolute form that has none is "/".
 * Returns NULL, or a short static text that says what is wrong.
 */
const char *mb_http_target_split(struct mb_http_head *head);

#endif
