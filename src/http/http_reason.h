/* The reason phrases of status codes. */
#ifndef MB_HTTP_REASON_H
#define MB_HTTP_REASON_H

/* The phrase of a status (RFC 9110, section 15, and the registry), or "" for one that is not known. */
const char *mb_http_reason(int status);

#endif
