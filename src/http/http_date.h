/* The Date field (RFC 9110, section 6.6.1). */
#ifndef MB_HTTP_DATE_H
#define MB_HTTP_DATE_H

/* Returns the field line of the current date, with CR LF. It is valid until the next call. */
const char *mb_http_date_line(void);

#endif
