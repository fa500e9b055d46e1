/* What a pool tells the service manager (Type=notify). Nothing is done, and no library loaded, where none asks. */
#ifndef MB_POOL_NOTIFY_H
#define MB_POOL_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/* What is told of all processes of a pool. */
struct mb_pool_numbers {
  int busy, idle;
  int leaving;     /* idle ones that have to end, and may still take a connection */
  uint64_t served; /* connections */
  int64_t last;    /* monotonic microseconds: when the last of them came or ended; 0: none has */
};

struct mb_pool_notify {
  int64_t watchdog_usec; /* how often the manager wants to hear from us; 0: it does not */
  int64_t status_at, watchdog_at;
  int64_t ready_by; /* when READY=1 is told at the latest; 0: it is told, or would be */
  struct mb_pool_numbers told;
  bool is_told;  /* STATUS= says what holds, but for the numbers */
  bool is_stale; /* the script could not be loaded anew */
};

/*
 * READY=1 will be told: the pool serves, for the first time or again. Whoever waits for that wants to meet the new
 * script: processes that have loaded an older one, and are idle, end before.
 * is_stale  with the script that was loaded before, as another load has failed
 */
void mb_pool_notify_ready(struct mb_pool_notify *notify, bool is_stale);

/* RELOADING=1, with the time, as Type=notify-reload wants it. */
void mb_pool_notify_reloading(struct mb_pool_notify *notify);

/* STOPPING=1 */
void mb_pool_notify_stopping(void);

/* Tells READY=1, STATUS= and WATCHDOG=1 when it is time for them. Returns when it is time again. */
int64_t mb_pool_notify_status(struct mb_pool_notify *notify, const struct mb_pool_numbers *numbers,
                              int64_t now);

/* A process of the pool that is not the first one tells nothing. */
void mb_pool_notify_forget(void);

#endif
