/*
 * Bytes as text: base64, base64url (RFC 4648, sections 4 and 5) and hexadecimal digits. What is decoded may come from
 * anybody: a text has to be exactly what an encoder makes of the bytes, so that no two texts stand for the same bytes.
 */
#ifndef MB_ENCODING_H
#define MB_ENCODING_H

#include <stddef.h>

enum mb_base64 {
  MB_BASE64,     /* with + and /, and = at the end */
  MB_BASE64_URL, /* with - and _, and no = (RFC 7515, section 2) */
};

/* The most bytes that may be encoded: so the size of the text is no overflow. */
#define MB_ENCODING_MAX ((size_t)-1 / 4)

/* Returns the size of the base64 text of so many bytes, at most MB_ENCODING_MAX. */
size_t mb_base64_size(size_t len, enum mb_base64 kind);

/* Writes the text of the bytes, mb_base64_size() of them, without a NUL. */
void mb_base64_encode(char *to, const void *from, size_t len, enum mb_base64 kind);

/*
 * Decodes a text. `to` has room for len / 4 * 3 + 2 bytes.
 * ret_len  the number of bytes
 * ret_at   where the text is wrong, from 0 on
 * Returns NULL, or what is wrong: part of a sentence.
 */
const char *mb_base64_decode(unsigned char *to, const char *text, size_t len, enum mb_base64 kind,
                             size_t *ret_len, size_t *ret_at);

/* Writes two digits for each byte, in lower case. */
void mb_hex_encode(char *to, const void *from, size_t len);

/*
 * Decodes digits in either case, as others write them; `to` has room for len / 2 bytes.
 * ret_at  where the text is wrong, from 0 on
 * Returns NULL, or what is wrong.
 */
const char *mb_hex_decode(unsigned char *to, const char *text, size_t len, size_t *ret_at);

#endif
