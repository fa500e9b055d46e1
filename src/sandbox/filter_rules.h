/* What the filters refuse, in the words of libseccomp. Belongs to the build and to tests: it is not part of mb-handle. */
#ifndef MB_FILTER_RULES_H
#define MB_FILTER_RULES_H

#include <linux/filter.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>

#define MB_FILTER_MAX \
  512 /* instructions of one filter; all jumps of the kernel's language reach 255 */

/*
 * So many instructions stand before libseccomp's. The first one loads an argument: that ends the kernel's attempt to
 * find out, for each of its calls, whether the filter always allows it. The attempt takes longer than all the calls that
 * most connections make. The others answer ENOSYS to calls that are newer than calls.h, as programs then go another way.
 */
#define MB_FILTER_PROLOGUE 4

/* The first call that libseccomp 2.5.4 does not know, on all architectures; x32 is above it, too. */
#define MB_CALLS_END 451

/*
 * Makes a filter.
 * architecture  of libseccomp: SCMP_ARCH_X86_64, SCMP_ARCH_AARCH64
 * number        see filter.h
 * Returns the number of instructions, or -errno.
 */
int mb_filter_make(uint32_t architecture, unsigned number,
                   struct sock_filter ret_filter[MB_FILTER_MAX]);

#endif
