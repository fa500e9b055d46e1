/*
 * SHA-256 and HMAC by libnettle (Debian's libnettle8), which is loaded when it is first asked for: few scripts need it,
 * and no start pays for it. No cryptography is our own. mb-handle-static cannot load it.
 */
#ifndef MB_NETTLE_H
#define MB_NETTLE_H

#include <stddef.h>

enum { MB_SHA256_SIZE = 32 };

/*
 * Loads the library, unless it is there. A process that has locked itself, or has no descriptors left, cannot.
 * Returns NULL, or why it is not there: a sentence.
 */
const char *mb_nettle_load(void);

/* Computes the digest (FIPS 180-4). The library has been loaded. */
void mb_nettle_sha256(const void *data, size_t len, unsigned char ret[MB_SHA256_SIZE]);

/* Computes the code (RFC 2104, with SHA-256: RFC 4231). The library has been loaded. */
void mb_nettle_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                           unsigned char ret[MB_SHA256_SIZE]);

#endif
