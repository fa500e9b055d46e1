/* Loads libnettle, and calls it. Its header files say what its functions take: they are needed at build time. */
#include "base/nettle.h"

#ifdef MB_HAVE_NETTLE

#include <dlfcn.h>
#include <nettle/hmac.h>
#include <nettle/sha2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* The library of nettle 3.6 and later; nettle 4 has other functions (configure.ac). */
#define LIBRARY "libnettle.so.8"

/* What is called of it. Its header files give each function another name by a macro. */
#define FUNCTIONS(X)     \
  X(sha256_init)         \
  X(sha256_update)       \
  X(sha256_digest)       \
  X(hmac_sha256_set_key) \
  X(hmac_sha256_update)  \
  X(hmac_sha256_digest)

#define TEXT_OF(name) #name
#define LINKED(name)  TEXT_OF(name)

static struct {
#define MEMBER(function) __typeof__(&function) of_##function;
  FUNCTIONS(MEMBER)
#undef MEMBER
} nettle;

static bool is_loaded;

/* Adds to a message of the loader's what helps. In a sandbox, too, it says that there is no such file. */
static const char *explain(const char *message) {
  static char text[512];
  snprintf(text, sizeof text, "%s%s", message,
           strstr(message, LIBRARY) ? " (Debian has it in the package libnettle8; in a sandbox, "
                                      "require mb.crypto before the handler runs)"
                                    : "");
  return text;
}

const char *mb_nettle_load(void) {
  if (is_loaded) return NULL;
  void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (!library) return explain(dlerror());
#define FIND(function)                                                \
  *(void **)&nettle.of_##function = dlsym(library, LINKED(function)); \
  if (!nettle.of_##function) return LIBRARY " lacks the function " #function;
  FUNCTIONS(FIND)
#undef FIND
  is_loaded = true;
  return NULL;
}

/* Overwrites what a key could be found from; the compiler may not leave that out. */
static void wipe(void *memory, size_t size) {
  memset(memory, 0, size);
  __asm__ volatile("" : : "r"(memory) : "memory");
}

void mb_nettle_sha256(const void *data, size_t len, unsigned char ret[MB_SHA256_SIZE]) {
  struct sha256_ctx context;
  nettle.of_sha256_init(&context);
  nettle.of_sha256_update(&context, len, data);
  nettle.of_sha256_digest(&context, MB_SHA256_SIZE, ret);
  wipe(&context, sizeof context);
}

void mb_nettle_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                           unsigned char ret[MB_SHA256_SIZE]) {
  struct hmac_sha256_ctx context;
  nettle.of_hmac_sha256_set_key(&context, key_len, key);
  nettle.of_hmac_sha256_update(&context, len, data);
  nettle.of_hmac_sha256_digest(&context, MB_SHA256_SIZE, ret);
  wipe(&context, sizeof context);
}

#else

#include <string.h>

const char *mb_nettle_load(void) {
  return "mb-handle was built without libnettle: install nettle's header files (Debian: "
         "nettle-dev), "
         "and build it again";
}

/* Nobody gets here. */
void mb_nettle_sha256(const void *data, size_t len, unsigned char ret[MB_SHA256_SIZE]) {
  (void)data;
  (void)len;
  memset(ret, 0, MB_SHA256_SIZE);
}

void mb_nettle_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                           unsigned char ret[MB_SHA256_SIZE]) {
  (void)key;
  (void)key_len;
  (void)data;
  (void)len;
  memset(ret, 0, MB_SHA256_SIZE);
}

#endif
