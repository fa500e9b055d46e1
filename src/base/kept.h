/* A connection that is kept for another request: nothing is lost when it ends while it waits for that. */
#ifndef MB_KEPT_H
#define MB_KEPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

/* Names a function that mb_kept_set calls with its argument; NULL: none. */
void mb_kept_tell(void (*f)(int64_t silent));

/*
 * Such a wait begins, or has ended.
 * silent  microseconds without a byte after which most likely none is on its way; 0: the wait has ended
 */
void mb_kept_set(int64_t silent);

/* Who takes connections over when another request has come, before a byte of it is read. */
struct mb_kept_taker {
  bool (*wants)(void); /* returns whether it takes one over now */
  /*
   * Takes one over.
   * client  its address, which a proxy may have named
   */
  void (*take)(int fd, const struct mb_addr *client);
};

/* Names the taker, which has to live as long as the process. */
void mb_kept_offer(const struct mb_kept_taker *taker);

/* Returns the taker, when there is one and it wants the connection; else NULL. */
const struct mb_kept_taker *mb_kept_wanted(void);

#endif
