/* Passes on that a connection waits for another request, and that one has come. */
#include "base/kept.h"

#include <stddef.h>

static void (*tell)(int64_t silent);
static const struct mb_kept_taker *taker;

void mb_kept_tell(void (*f)(int64_t silent)) { tell = f; }

void mb_kept_set(int64_t silent) {
  if (tell) tell(silent);
}

void mb_kept_offer(const struct mb_kept_taker *named) { taker = named; }

const struct mb_kept_taker *mb_kept_wanted(void) { return taker && taker->wants() ? taker : NULL; }
