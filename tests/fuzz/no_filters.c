/* In the place of the filters: a harness runs one input after another in a process that must not be locked. */
#include "sandbox/filter.h"

const struct sock_filter mb_filters[1];
const uint16_t mb_filters_at[MB_FILTERS + 1];
