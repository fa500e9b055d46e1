/*
 * One poll(2) over everything. poll(2) takes no more descriptors than the process may have, so children,
 * which need none, are kept beside its array.
 */
#include "socket/poll_set.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/fdio.h"
#include "base/sigterm.h"
#include "socket/timeout.h"

/* An element for which poll(2) alone is not enough. One of the first three members is set. */
struct special {
  const struct mb_child *child;
  struct mb_handle *in_short;   /* see forget_shortness */
  struct mb_handle *connecting; /* not connected yet: polled until that is decided */
  size_t at;                    /* connecting: index of its descriptor */
  short wanted;                 /* connecting: events to wait for afterwards */
};

struct mb_poll_set {
  size_t capacity;             /* of both arrays */
  size_t count, special_count; /* more than capacity: some elements are missing */
  bool ready;                  /* an element is ready without a wait */
  bool any_child;
  struct special *specials;
  struct pollfd fds[];
};

size_t mb_poll_set_size(size_t capacity) {
  return sizeof(struct mb_poll_set) + capacity * (sizeof(struct pollfd) + sizeof(struct special));
}

void mb_poll_set_init(struct mb_poll_set *set, size_t capacity) {
  set->capacity = capacity;
  set->specials = (struct special *)(set->fds + capacity);
  mb_poll_set_clear(set);
}

void mb_poll_set_clear(struct mb_poll_set *set) {
  set->count = set->special_count = 0;
  set->ready = set->any_child = false;
}

size_t mb_poll_set_lacks(const struct mb_poll_set *set) {
  size_t needed = set->count > set->special_count ? set->count : set->special_count;
  return needed > set->capacity ? needed : 0;
}

void mb_poll_set_add_fd(struct mb_poll_set *set, int fd, short events) {
  if (set->count < set->capacity)
    set->fds[set->count] = (struct pollfd){.fd = fd, .events = events};
  set->count++;
}

static void add_special(struct mb_poll_set *set, struct special s) {
  if (set->special_count < set->capacity) set->specials[set->special_count] = s;
  set->special_count++;
}

void mb_poll_set_add_handle(struct mb_poll_set *set, struct mb_handle *h, short wanted) {
  struct mb_interest interest = mb_handle_interest(h, wanted, h->in_short);
  h->polled_short = h->in_short;
  if (wanted & POLLIN && h->in_short) add_special(set, (struct special){.in_short = h});
  if (interest.ready) {
    set->ready = true;
    return;
  }
  if (interest.connecting)
    add_special(set, (struct special){.connecting = h, .at = set->count, .wanted = wanted});
  for (int i = 0; i < interest.count; i++)
    mb_poll_set_add_fd(set, interest.fds[i].fd, interest.fds[i].events);
}

void mb_poll_set_add_child(struct mb_poll_set *set, const struct mb_child *child) {
  if (!child) {
    set->ready = true;
    return;
  }
  add_special(set, (struct special){.child = child});
  set->any_child = true;
}

/* ---- waiting ---- */

/* Waits once. Returns how many descriptors have events, 0 at the deadline, or -errno. */
static int wait_once(struct mb_poll_set *set, int64_t deadline, const sigset_t *mask) {
  struct timespec left;
  if (deadline != MB_NO_DEADLINE) {
    int64_t usec = deadline - mb_now_usec();
    if (usec < 0) usec = 0;
    left = (struct timespec){(time_t)(usec / 1000000), (long)(usec % 1000000) * 1000};
  }
  int n = ppoll(set->fds, set->count, deadline == MB_NO_DEADLINE ? NULL : &left, mask);
  return n < 0 ? -errno : n;
}

static bool any_child_has_ended(const struct mb_poll_set *set) {
  for (size_t i = 0; i < set->special_count; i++) {
    if (set->specials[i].child && mb_child_has_ended(set->specials[i].child)) return true;
  }
  return false;
}

/*
 * Does the same, but lets SIGTERM and SIGCHLD in only during the wait: none can come unseen between the
 * check for them and the wait.
 */
static int wait_for_signals_too(struct mb_poll_set *set, int64_t deadline, bool wakeup_on_sigterm) {
  sigset_t signals, before;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGCHLD);
  sigprocmask(SIG_BLOCK, &signals, &before);
  int r;
  if (wakeup_on_sigterm && mb_sigterm_has_come()) {
    r = -EINTR;
  } else if (any_child_has_ended(set)) {
    set->ready = true;
    r = 1;
  } else {
    r = wait_once(set, deadline, &before);
  }
  sigprocmask(SIG_SETMASK, &before, NULL);
  return r;
}

/*
 * Goes on connecting, as poll(2) has reported an event. Returns whether the handle is ready; if not, *fd
 * is set for the next step.
 */
static bool is_ready_after_connecting(struct pollfd *fd, const struct special *s) {
  struct mb_interest interest = mb_handle_interest(s->connecting, s->wanted, false);
  if (!interest.connecting || mb_handle_ready(s->connecting, &interest, fd)) return true;
  *fd = mb_handle_interest(s->connecting, s->wanted, false).fds[0];
  return false;
}

/*
 * Looks at what poll(2) has reported. Returns 1 when something is ready, 0 when nothing is, or -EBADF
 * with the descriptor in *ret_fd.
 */
static int look(struct mb_poll_set *set, int *ret_fd) {
  for (size_t i = 0; i < set->special_count; i++) {
    const struct special *s = &set->specials[i];
    if (!s->connecting) continue;
    struct pollfd *fd = &set->fds[s->at];
    if (fd->revents && !is_ready_after_connecting(fd, s)) fd->revents = 0;
  }
  int ready = 0;
  for (size_t i = 0; i < set->count; i++) {
    if (set->fds[i].revents & POLLNVAL) {
      *ret_fd = set->fds[i].fd;
      return -EBADF;
    }
    if (set->fds[i].revents) ready = 1;
  }
  return ready;
}

/*
 * Bytes that are too few for a read_call do not count as input in one wait. Then they count again: the
 * read_call may have been given up. If it is resumed and still waits, it marks the handle anew.
 */
static void forget_shortness(const struct mb_poll_set *set) {
  for (size_t i = 0; i < set->special_count; i++) {
    if (set->specials[i].in_short) set->specials[i].in_short->in_short = false;
  }
}

/*
 * Returns whether a SIGCHLD or an alarm of ours, and no SIGTERM, has interrupted us, and forgets all of
 * them. That alone does not end the wait: the child may be one that nobody waits for, and an alarm that
 * ends nothing is no matter of the script's.
 */
static bool is_no_matter(void) {
  bool child = mb_child_take_signal(), alarm = mb_timeout_take_alarm(), sigterm = mb_sigterm_take();
  return (child || alarm) && !sigterm;
}

int mb_poll_set_wait(struct mb_poll_set *set, int64_t deadline, bool wakeup_on_sigterm,
                     int *ret_fd) {
  forget_shortness(set);
  if (wakeup_on_sigterm && mb_sigterm_has_come()) return -EINTR;
  if (set->ready) return 1;
  if (set->any_child) mb_child_catch_signal();
  is_no_matter(); /* forgets earlier signals: only those during this wait count */
  for (;;) {
    int r = wakeup_on_sigterm || set->any_child
                ? wait_for_signals_too(set, deadline, wakeup_on_sigterm)
                : wait_once(set, deadline, NULL);
    if (r == -EINTR && is_no_matter()) continue;
    if (r <= 0 || set->ready) return r;
    r = look(set, ret_fd);
    if (r != 0) return r;
  }
}
