/* Passes on that a connection waits for another request. */
#include "base/kept.h"

#include <stddef.h>

static void (*tell)(bool is_kept);

void mb_kept_tell(void (*f)(bool is_kept)) { tell = f; }

void mb_kept_set(bool is_kept) {
  if (tell) tell(is_kept);
}
