/* The module mb.crypto: text of bytes, random bytes, and what libnettle computes. See mb.crypto(3). */
#ifndef MB_CRYPTO_H
#define MB_CRYPTO_H

#include <lua.h>

/* Pushes the module. It loads no library: the first call that needs one does. */
int mb_crypto_open(lua_State *L);

/* Loads the library for a script that has the module: the process is about to lock itself. */
void mb_crypto_before_lock(void);

#endif
