/* What the filters refuse, in the words of libseccomp. Belongs to the build and to tests: it is not part of mb-handle. */
#ifndef MB_FILTER_RULES_H
#define MB_FILTER_RULES_H

#include <seccomp.h>

#include "sandbox/filter_front.h"

/*
 * Makes the filter as libseccomp writes it.
 * architecture  of libseccomp: SCMP_ARCH_X86_64, SCMP_ARCH_AARCH64
 * number        see filter.h
 * Returns the number of instructions, or -errno.
 */
int mb_filter_of_libseccomp(uint32_t architecture, unsigned number,
                            struct sock_filter ret_filter[MB_FILTER_MAX]);

/*
 * Makes the filter that mb-handle has: it says the same, but ENOSYS to calls that are newer than calls.h, as programs then
 * go another way; and it is half as long. Each instruction takes the kernel time at every start. So numbers that follow
 * each other and have the same answer are one range, and libseccomp's program follows for the calls whose arguments
 * count. The first instruction loads an argument: that ends the kernel's attempt to find out, for each of its calls,
 * whether the filter always allows it. The attempt takes longer than all the calls that most connections make.
 * Parameters and result are as above.
 */
int mb_filter_make(uint32_t architecture, unsigned number,
                   struct sock_filter ret_filter[MB_FILTER_MAX]);

#endif
