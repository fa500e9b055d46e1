/*
 * mb-handle-static loads nothing at run time. What is defined here takes the place of the C library's functions of the
 * same names when the program is linked: those that Lua and MB_RARE call, and those by which the C library itself loads
 * parts of its own (NSS, gconv, libgcc_s). A shared object of another version of the C library can so never get in.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <malloc.h>
#include <net/if.h>
#include <netdb.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mathematics.h"
#include "base/rare.h"

/* ---- for Lua: package.loadlib and require show it ---- */

void *dlopen(const char *file, int mode) {
  (void)file;
  (void)mode;
  return NULL;
}

char *dlerror(void) {
  static char text[] =
      "mb-handle-static loads no modules in C: start mb-handle in its place, or make the units "
      "anew";
  return text;
}

int dlclose(void *handle) {
  (void)handle;
  return -1;
}

/* ---- for src/base/mathematics.c: libm is in the program ---- */

void mb_mathematics_load(void) {}

/* ---- for MB_RARE ---- */

void *dlsym(void *restrict handle, const char *restrict name) {
  if (handle != RTLD_DEFAULT) return NULL;
    /* Code, not a table: that would be relocated at every start. */
#define FIND(function) \
  if (strcmp(name, #function) == 0) return (void *)function;
  MB_RARE_FUNCTIONS(FIND)
#undef FIND
#define FIND(function) \
  if (strcmp(name, MB_RARE_LARGE_NAME(function)) == 0) return (void *)function;
  MB_RARE_LARGE_FUNCTIONS(FIND)
#undef FIND
  return NULL;
}

/* ---- for the C library itself: it goes on without what it wanted, strerror() in English for example ---- */

void *__libc_dlopen_mode(const char *file, int mode);
void *__libc_dlsym(void *handle, const char *name);
void *__libc_dlvsym(void *handle, const char *name, const char *version);
int __libc_dlclose(void *handle);

void *__libc_dlopen_mode(const char *file, int mode) {
  (void)file;
  (void)mode;
  return NULL;
}

void *__libc_dlsym(void *handle, const char *name) {
  (void)handle;
  (void)name;
  return NULL;
}

void *__libc_dlvsym(void *handle, const char *name, const char *version) {
  (void)handle;
  (void)name;
  (void)version;
  return NULL;
}

int __libc_dlclose(void *handle) {
  (void)handle;
  return -1;
}
