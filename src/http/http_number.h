/* Numbers as text, for each response: printf takes ten times as long, and pages of the C library that nothing else needs. */
#ifndef MB_HTTP_NUMBER_H
#define MB_HTTP_NUMBER_H

#include <stddef.h>
#include <stdint.h>

#define MB_HTTP_NUMBER_MAX 20 /* digits of the largest number */

/*
 * Writes a number without a NUL at its end.
 * base  10, or 16 with lower case
 * Returns how many digits there are.
 */
size_t mb_http_number(char to[MB_HTTP_NUMBER_MAX], uint64_t number, unsigned base);

/* Room for the line that begins a chunk. */
#define MB_HTTP_CHUNK_SIZE_MAX (MB_HTTP_NUMBER_MAX + 2)

/* Writes the line that begins a chunk of this size, with CR LF. Returns its length. */
size_t mb_http_chunk_size_line(char to[MB_HTTP_CHUNK_SIZE_MAX], uint64_t size);

/* Room for the field line Content-Length. */
#define MB_HTTP_LENGTH_LINE_MAX (16 + MB_HTTP_NUMBER_MAX + 2)

/* Writes the field line "Content-Length: SIZE" with CR LF. Returns its length. */
size_t mb_http_length_line(char to[MB_HTTP_LENGTH_LINE_MAX], uint64_t size);

#endif
