/* What a pool tells the service manager. */
#include "app/pool_notify.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fdio.h"
#include "base/sd.h"

/* A status that changes all the time is told so often. */
#define STATUS_USEC 5000000
/* Old processes that do not end, as they are stopped say, do not hold READY=1 up for longer. */
#define READY_USEC 1000000
/* It is looked so often whether they have ended. */
#define LEAVING_USEC 2000

static bool is_wanted(void) { return getenv("NOTIFY_SOCKET") != NULL; }

void mb_pool_notify_ready(struct mb_pool_notify *notify, bool is_stale) {
  notify->is_stale = is_stale;
  notify->ready_by = mb_now_usec() + READY_USEC;
}

/* Returns when to look again, while old processes have to end first. */
static int64_t tell_ready(struct mb_pool_notify *notify, const struct mb_pool_numbers *n,
                          int64_t now) {
  if (notify->ready_by == 0) return MB_NO_DEADLINE;
  if (n->leaving > 0 && now < notify->ready_by) return now + LEAVING_USEC;
  notify->ready_by = 0;
  if (!is_wanted()) return MB_NO_DEADLINE;
  mb_sd_notify("READY=1");
  notify->is_told = false;
  notify->watchdog_usec = (int64_t)mb_sd_watchdog_usec();
  notify->status_at = notify->watchdog_at = 0;
  return MB_NO_DEADLINE;
}

void mb_pool_notify_reloading(struct mb_pool_notify *notify) {
  notify->ready_by = 0; /* a load that was ready is told with this one */
  if (!is_wanted()) return;
  char text[64];
  snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, mb_now_usec());
  mb_sd_notify(text);
}

void mb_pool_notify_stopping(void) {
  if (is_wanted()) mb_sd_notify("STOPPING=1");
}

static bool is_same(const struct mb_pool_numbers *a, const struct mb_pool_numbers *b) {
  return a->busy == b->busy && a->idle == b->idle && a->served == b->served;
}

static int64_t tell_status(struct mb_pool_notify *notify, const struct mb_pool_numbers *n,
                           int64_t now) {
  if (now < notify->status_at) return notify->status_at;
  notify->status_at = now + STATUS_USEC;
  if (notify->is_told && is_same(n, &notify->told)) return notify->status_at;
  char text[240];
  snprintf(text, sizeof text,
           "STATUS=%d processes, %d of them with a connection; %" PRIu64 " connections served%s",
           n->busy + n->idle, n->busy, n->served,
           notify->is_stale ? "; the script was not loaded anew, see the log: the one that was "
                              "loaded before goes on"
                            : "");
  mb_sd_notify(text);
  notify->is_told = true;
  notify->told = *n;
  return notify->status_at;
}

int64_t mb_pool_notify_status(struct mb_pool_notify *notify, const struct mb_pool_numbers *numbers,
                              int64_t now) {
  int64_t ready_at = tell_ready(notify, numbers, now);
  if (!is_wanted()) return ready_at;
  int64_t again_at = tell_status(notify, numbers, now);
  if (ready_at < again_at) again_at = ready_at;
  if (notify->watchdog_usec == 0) return again_at;
  if (now >= notify->watchdog_at) {
    mb_sd_notify("WATCHDOG=1");
    notify->watchdog_at = now + notify->watchdog_usec / 2;
  }
  return again_at < notify->watchdog_at ? again_at : notify->watchdog_at;
}

void mb_pool_notify_forget(void) {
  unsetenv("NOTIFY_SOCKET");
  unsetenv("WATCHDOG_PID");
  unsetenv("WATCHDOG_USEC");
}
