/* A connection that is kept for another request: nothing is lost when it ends while it waits for that. */
#ifndef MB_KEPT_H
#define MB_KEPT_H

#include <stdbool.h>

#include "base/addr.h"

/* Names a function to call when such a wait begins (true) and when it has ended (false); NULL: none. */
void mb_kept_tell(void (*f)(bool is_kept));

/* The wait begins, or has ended. */
void mb_kept_set(bool is_kept);

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
