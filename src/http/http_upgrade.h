/*
 * Whether a request asks for another protocol on its connection, which a 101 (Switching Protocols) then
 * begins (RFC 9110, sections 7.8 and 15.2.2). Uses no Lua and does no I/O.
 */
#ifndef MB_HTTP_UPGRADE_H
#define MB_HTTP_UPGRADE_H

#include "http/http_head.h"

/*
 * Returns why a 101 must not answer the request, as a short static text; NULL: it may. An Upgrade counts only
 * beside the option "upgrade" of Connection: without it, an intermediary that knows nothing of the other
 * protocol may have passed the field on.
 */
const char *mb_http_upgrade_wrong(const struct mb_http_head *head);

/* Returns whether the list of protocols, as in an Upgrade field, has some, and the client has offered each. */
bool mb_http_upgrade_offered(const struct mb_http_head *head, struct mb_span protocols);

#endif
