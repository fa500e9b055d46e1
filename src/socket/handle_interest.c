/*
 * Readiness: decides what a handle waits for, and whether poll(2) has reported it. Nothing else decides
 * that.
 */
#include <errno.h>

#include "socket/handle.h"

static bool has_input(const struct mb_handle *h, bool more) {
  return (mb_buf_len(&h->in) > 0 && !more) || h->in_eof || h->in_error;
}

static bool takes_output(const struct mb_handle *h) {
  return h->state == MB_HANDLE_OPEN && h->out_error == 0;
}

static void add(struct mb_interest *interest, int fd, short events) {
  interest->fds[interest->count++] = (struct pollfd){.fd = fd, .events = events};
}

struct mb_interest mb_handle_interest(struct mb_handle *h, short wanted, bool more) {
  struct mb_interest interest = {.wanted = wanted};
  if (!mb_handle_is_open(h)) {
    interest.ready = wanted;
    return interest;
  }
  if (wanted & POLLIN && has_input(h, more)) interest.ready |= POLLIN;
  if (wanted & POLLOUT && !takes_output(h)) interest.ready |= POLLOUT;
  short rest = (short)(wanted & ~interest.ready);
  if (!rest) return interest;
  int in_fd = h->io.in_fd;
  if (rest & POLLIN && h->io.held) {
    in_fd = mb_channel_edge(&h->io);
    if (in_fd < 0) {
      interest.ready |= POLLIN;
      return interest;
    }
  }
  if (h->attempt) {
    interest.connecting = true;
    add(&interest, h->io.in_fd, POLLOUT);
  } else if (in_fd == h->io.out_fd) {
    add(&interest, in_fd, rest);
  } else {
    if (rest & POLLIN) add(&interest, in_fd, POLLIN);
    if (rest & POLLOUT) add(&interest, h->io.out_fd, POLLOUT);
  }
  return interest;
}

/*
 * Goes on connecting, and returns the events that are there. A handle that has just connected takes
 * output; its input has yet to come.
 */
static short ready_when_connected(struct mb_handle *h, const struct mb_interest *interest) {
  if (mb_handle_decide(h, false) == -EAGAIN) return 0;
  struct mb_interest now = mb_handle_interest(h, interest->wanted, true);
  return (short)(now.ready | (interest->wanted & POLLOUT));
}

short mb_handle_ready(struct mb_handle *h, const struct mb_interest *interest,
                      const struct pollfd *polled) {
  short ready = interest->ready;
  for (int i = 0; i < interest->count; i++) {
    short told = polled[i].revents;
    if (!told) continue;
    if (interest->connecting) return ready | ready_when_connected(h, interest);
    if (told & (POLLERR | POLLHUP | POLLNVAL)) told = interest->fds[i].events;
    ready |= told & interest->fds[i].events;
  }
  return ready;
}

int mb_handle_wait(struct mb_handle *h, short wanted, bool more, int64_t deadline) {
  for (;;) {
    struct mb_interest interest = mb_handle_interest(h, wanted, more);
    if (interest.ready) return interest.ready;
    int r = mb_fd_poll_all(interest.fds, (size_t)interest.count, deadline);
    if (r <= 0) return r;
    short ready = mb_handle_ready(h, &interest, interest.fds);
    if (ready) return ready;
  }
}
