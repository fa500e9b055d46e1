/* A connection that is kept for another request: nothing is lost when it ends while it waits for that. */
#ifndef MB_KEPT_H
#define MB_KEPT_H

#include <stdbool.h>

/* Names a function to call when such a wait begins (true) and when it has ended (false); NULL: none. */
void mb_kept_tell(void (*f)(bool is_kept));

/* The wait begins, or has ended. */
void mb_kept_set(bool is_kept);

#endif
