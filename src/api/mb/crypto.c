/* The module mb.crypto. What it computes with keys is libnettle's (base/nettle.h), and nothing else is cryptography. */
#include "api/mb/crypto.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "base/encoding.h"
#include "base/nettle.h"
#include "base/rare.h"

/*
 * A key or a token has some tens of bytes. A larger number than this rather comes from a client; browsers have the same
 * limit (Web Cryptography API, getRandomValues).
 */
#define RANDOM_MAX 65536

static bool is_open; /* for mb_crypto_before_lock */

/* Returns an argument that is a string. A number is none: a key or a digest that is one is a mistake. */
static const char *check_bytes(lua_State *L, int index, size_t *ret_len) {
  luaL_checktype(L, index, LUA_TSTRING);
  return lua_tolstring(L, index, ret_len);
}

/* Returns an argument that is to be encoded. */
static const char *check_encoded(lua_State *L, size_t *ret_len) {
  const char *bytes = check_bytes(L, 1, ret_len);
  luaL_argcheck(L, *ret_len <= MB_ENCODING_MAX, 1, "string too long");
  return bytes;
}

/* ---- text ---- */

static int encode(lua_State *L, enum mb_base64 kind) {
  size_t len;
  const char *bytes = check_encoded(L, &len);
  luaL_Buffer b;
  size_t size = mb_base64_size(len, kind);
  mb_base64_encode(luaL_buffinitsize(L, &b, size), bytes, len, kind);
  luaL_pushresultsize(&b, size);
  return 1;
}

/* Pushes nil and a message: "no base64 at byte 3: ...". */
static int push_wrong(lua_State *L, const char *what, size_t at, const char *why) {
  lua_pushnil(L);
  lua_pushfstring(L, "no %s at byte %I: %s", what, (LUAI_UACINT)at + 1, why);
  return 2;
}

static int decode(lua_State *L, enum mb_base64 kind) {
  size_t len, size, at;
  const char *text = check_bytes(L, 1, &len);
  luaL_Buffer b;
  unsigned char *to = (unsigned char *)luaL_buffinitsize(L, &b, len / 4 * 3 + 2);
  const char *wrong = mb_base64_decode(to, text, len, kind, &size, &at);
  if (wrong) return push_wrong(L, kind == MB_BASE64 ? "base64" : "base64url", at, wrong);
  luaL_pushresultsize(&b, size);
  return 1;
}

/*
 * base64(bytes), base64url(bytes): returns the text (RFC 4648, sections 4 and 5); that of base64url has no "=".
 * from_base64(text), from_base64url(text): returns the bytes; or nil and what is wrong with the text, which has to be
 * exactly what the other function makes.
 */
static int crypto_base64(lua_State *L) { return encode(L, MB_BASE64); }

static int crypto_base64url(lua_State *L) { return encode(L, MB_BASE64_URL); }

static int crypto_from_base64(lua_State *L) { return decode(L, MB_BASE64); }

static int crypto_from_base64url(lua_State *L) { return decode(L, MB_BASE64_URL); }

/* hex(bytes): returns two digits for each byte, in lower case. */
static int crypto_hex(lua_State *L) {
  size_t len;
  const char *bytes = check_encoded(L, &len);
  luaL_Buffer b;
  mb_hex_encode(luaL_buffinitsize(L, &b, 2 * len), bytes, len);
  luaL_pushresultsize(&b, 2 * len);
  return 1;
}

/* from_hex(text): returns the bytes of digits in either case; or nil and what is wrong. */
static int crypto_from_hex(lua_State *L) {
  size_t len, at;
  const char *text = check_bytes(L, 1, &len);
  luaL_Buffer b;
  unsigned char *to = (unsigned char *)luaL_buffinitsize(L, &b, len / 2);
  const char *wrong = mb_hex_decode(to, text, len, &at);
  if (wrong) return push_wrong(L, "hexadecimal text", at, wrong);
  luaL_pushresultsize(&b, len / 2);
  return 1;
}

/* ---- secrets ---- */

/*
 * equal(a, b): returns whether two strings are the same. The time that it takes depends on their sizes, which are no
 * secret, and not on where they differ.
 */
static int crypto_equal(lua_State *L) {
  size_t a_len, b_len;
  const volatile unsigned char *a = (const unsigned char *)check_bytes(L, 1, &a_len);
  const volatile unsigned char *b = (const unsigned char *)check_bytes(L, 2, &b_len);
  unsigned different = 0;
  if (a_len == b_len) {
    for (size_t i = 0; i < a_len; i++) different |= (unsigned)a[i] ^ b[i];
  }
  lua_pushboolean(L, a_len == b_len && different == 0);
  return 1;
}

/* Fills the room with random bytes. Returns 0 or an errno. */
static int fill(char *room, size_t size) {
  while (size > 0) {
    ssize_t n = mb_rare_getrandom(room, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    room += n;
    size -= (size_t)n;
  }
  return 0;
}

/*
 * random_bytes(count): returns so many bytes that nobody can guess (getrandom(2)), 1 to RANDOM_MAX; never fewer. Throws
 * when the system has none, as there is nothing to go on with.
 */
static int crypto_random_bytes(lua_State *L) {
  lua_Integer count = luaL_checkinteger(L, 1);
  luaL_argcheck(L, count >= 1 && count <= RANDOM_MAX, 1, "expected 1 to 65536 bytes");
  luaL_Buffer b;
  int error = fill(luaL_buffinitsize(L, &b, (size_t)count), (size_t)count);
  if (error) return luaL_error(L, "random_bytes: %s", strerror(error));
  luaL_pushresultsize(&b, (size_t)count);
  return 1;
}

/* ---- what libnettle computes ---- */

static void need_library(lua_State *L, const char *name) {
  const char *why = mb_nettle_load();
  if (why) luaL_error(L, "%s: %s", name, why);
}

/* sha256(data): returns the digest, 32 bytes (FIPS 180-4). */
static int crypto_sha256(lua_State *L) {
  size_t len;
  unsigned char digest[MB_SHA256_SIZE];
  const char *data = check_bytes(L, 1, &len);
  need_library(L, "sha256");
  mb_nettle_sha256(data, len, digest);
  lua_pushlstring(L, (const char *)digest, sizeof digest);
  return 1;
}

/* hmac_sha256(key, data): returns the code, 32 bytes (RFC 2104). The key is not empty. */
static int crypto_hmac_sha256(lua_State *L) {
  size_t key_len, len;
  unsigned char code[MB_SHA256_SIZE];
  const char *key = check_bytes(L, 1, &key_len), *data = check_bytes(L, 2, &len);
  luaL_argcheck(L, key_len > 0, 1, "expected a key, got an empty string");
  need_library(L, "hmac_sha256");
  mb_nettle_hmac_sha256(key, key_len, data, len, code);
  lua_pushlstring(L, (const char *)code, sizeof code);
  return 1;
}

/* ---- the module ---- */

int mb_crypto_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"base64", crypto_base64},
      {"base64url", crypto_base64url},
      {"equal", crypto_equal},
      {"from_base64", crypto_from_base64},
      {"from_base64url", crypto_from_base64url},
      {"from_hex", crypto_from_hex},
      {"hex", crypto_hex},
      {"hmac_sha256", crypto_hmac_sha256},
      {"random_bytes", crypto_random_bytes},
      {"sha256", crypto_sha256},
      {NULL, NULL},
  };
  luaL_newlib(L, functions);
  is_open = true;
  return 1;
}

void mb_crypto_before_lock(void) {
  if (is_open) mb_nettle_load(); /* a failure shows when a function is called */
}
