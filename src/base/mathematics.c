/* Each function that Lua's library takes from libm, and which loads libm when it is first called. */
#include "base/mathematics.h"

#include <dlfcn.h>
#include <gnu/lib-names.h>
#include <math.h>
#include <stddef.h>
#include <syslog.h>
#include <unistd.h>

#include "base/exits.h"
#include "base/log.h"

static void *libm;

void mb_mathematics_load(void) {
  if (!libm) libm = dlopen(LIBM_SO, RTLD_NOW | RTLD_GLOBAL);
}

/* Finds a function. There is no result to give in place of its own: without libm the process ends. */
static void *find(const char *name) {
  mb_mathematics_load();
  void *function = libm ? dlsym(libm, name) : NULL;
  if (function) return function;
  mb_log(LOG_ERR, "cannot load the library of mathematical functions, for %s(): %s", name,
         dlerror());
  _exit(MB_EXIT_SYSTEM);
}

#define OF_ONE(name)                                  \
  double name(double x) {                             \
    static double (*function)(double);                \
    if (!function) *(void **)&function = find(#name); \
    return function(x);                               \
  }

#define OF_TWO(name)                                  \
  double name(double x, double y) {                   \
    static double (*function)(double, double);        \
    if (!function) *(void **)&function = find(#name); \
    return function(x, y);                            \
  }

OF_ONE(acos)
OF_ONE(asin)
OF_TWO(atan2)
OF_ONE(cos)
OF_ONE(cosh)
OF_ONE(exp)
OF_TWO(fmod)
OF_ONE(log)
OF_ONE(log10)
OF_ONE(log2)
OF_TWO(pow)
OF_ONE(sin)
OF_ONE(sinh)
OF_ONE(sqrt)
OF_ONE(tan)
OF_ONE(tanh)
