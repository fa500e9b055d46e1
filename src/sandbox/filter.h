/*
 * Seccomp filters. They are made when mb-handle is built, see filter_rules.h; at run time one of them is chosen. On an
 * architecture without filters, every call says that there is none.
 */
#ifndef MB_FILTER_H
#define MB_FILTER_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The filters in one array, so that nothing has to be relocated: first the one that is always on, then one for each set of wishes. */
extern const struct sock_filter mb_filters[];
/* Where each begins, and at the end where the last one ends. All 0: there is no filter. */
extern const uint16_t mb_filters_at[];

#define MB_FILTER_ALWAYS 0
/* wishes  MB_WISH_... of the first five bits */
#define MB_FILTER_OF(wishes) (1 + (wishes))
#define MB_FILTERS           33

/*
 * Installs a filter, in this thread and those that it makes.
 * threads  the process has others, which are to have it, too
 * Returns 0; -ENOSYS when neither this kernel nor this architecture has filters; or -errno.
 */
int mb_filter_install(unsigned number, bool threads);

/* Returns whether some filter holds for this process, of whoever. */
bool mb_filter_is_any(void);

/* Returns whether this kernel has filters, and this program has some for it. */
bool mb_filter_exists(void);

#endif
