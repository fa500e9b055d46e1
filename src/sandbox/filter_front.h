/*
 * Programs of filters: the part that answers by a call's number alone, and what a program answers. Belongs to the build
 * and to tests, and is not part of mb-handle.
 */
#ifndef MB_FILTER_FRONT_H
#define MB_FILTER_FRONT_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MB_FILTER_MAX \
  512 /* instructions of one filter; all jumps of the kernel's language reach 255 */

/* The first call that libseccomp 2.5.4 does not know, on all architectures; x32 is above it, too. */
#define MB_CALLS_END 451

/*
 * Writes what answers by the number alone, for all calls for which the program `whole` looks at no argument. Behind it
 * has to follow the program for the others.
 * architecture  AUDIT_ARCH_...: any other is refused
 * Returns the number of instructions, or -errno.
 */
int mb_filter_front(const struct sock_filter *whole, uint32_t architecture,
                    struct sock_filter ret_filter[MB_FILTER_MAX]);

/*
 * Runs a filter as the kernel does.
 * ret_looks_at_arguments  whether the answer may depend on the call's arguments
 * Returns its action, SECCOMP_RET_...
 */
uint32_t mb_filter_run(const struct sock_filter *program, const struct seccomp_data *call,
                       bool *ret_looks_at_arguments);

#endif
