/* src/base/mathematics.c: libm is there when it is called, and not before. */
#include "base/mathematics.h"

#include <dlfcn.h>
#include <gnu/lib-names.h>
#include <math.h>

#include "../../lib/tap.h"

static bool is_loaded(void) {
  void *library = dlopen(LIBM_SO, RTLD_NOW | RTLD_NOLOAD);
  if (library) dlclose(library);
  return library != NULL;
}

/* The compiler must not know what the functions return. */
static volatile double half = 0.5, one = 1, two = 2, ten = 10, minus = -7.5;

static void is(const char *name, double got, double want) {
  tap_ok(fabs(got - want) < 1e-12, "%s: %.17g", name, got);
}

int main(void) {
#ifndef __SANITIZE_ADDRESS__ /* which has libm itself */
  tap_ok(!is_loaded(), "the program does not link to libm");
#endif
  is("fmod", fmod(minus, two), -1.5);
  tap_ok(is_loaded(), "a call loads it");
  mb_mathematics_load();
  is("acos", acos(half), M_PI / 3);
  is("asin", asin(one), M_PI / 2);
  is("atan2", atan2(one, -one), M_PI * 3 / 4);
  is("cos", cos(two), -0.41614683654714241);
  is("cosh", cosh(one), 1.5430806348152437);
  is("exp", exp(one), M_E);
  is("log", log(ten), M_LN10);
  is("log10", log10(half), -M_LN2 / M_LN10);
  is("log2", log2(half), -1);
  is("pow", pow(two, half), M_SQRT2);
  is("sin", sin(one), 0.84147098480789651);
  is("sinh", sinh(one), 1.1752011936438014);
  tap_ok(isnan(sqrt(minus)), "sqrt of a negative number");
  is("tan", tan(one), 1.5574077246549022);
  is("tanh", tanh(one), 0.76159415595576489);
  return tap_done();
}
