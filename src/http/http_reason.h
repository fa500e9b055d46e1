/* The reason phrases of status codes. */
#ifndef MB_HTTP_REASON_H
#define MB_HTTP_REASON_H

/* Returns the phrase of a status (RFC 9110, section 15, and the registry), or "" for an unknown one. */
const char *mb_http_reason(int status);

#endif
