/* See handler_client.h. */
#include "handler_client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* The time between two pieces of the input. For all pieces together it is less than any timeout. */
#define ARRIVAL_USEC 1

/* A slow client takes so little at once. When it does not get on otherwise, it takes more after so long. */
#define SLOW_BYTES         300
#define SLOW_PATIENCE_USEC 10000000

struct client client;

/* The code under test calls these besides its transport; the linker makes __wrap_x of x. */
int64_t __wrap_mb_now_usec(void);
void __wrap_mb_log(int level, const char *format, ...);
void __wrap_mb_log_script(int level, const char *text, size_t len);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                 const sigset_t *mask);
int __wrap_setitimer(__itimer_which_t which, const struct itimerval *value, struct itimerval *old);
int __real_setitimer(__itimer_which_t which, const struct itimerval *value, struct itimerval *old);

void client_begin(struct mb_span input, const struct client_nature *nature) {
  client = (struct client){.input = input, .nature = *nature, .now = 1000000000};
  client.arrived = nature->split == FUZZ_WHOLE ? input.size : 0;
  client.room = nature->slow ? SLOW_BYTES : SIZE_MAX;
}

void client_end(void) { fuzz_text_free(&client.output); }

int64_t __wrap_mb_now_usec(void) { return client.now; }

static void count_line(int level) {
  client.log_lines++;
  if (level < LOG_NOTICE) client.log_alarms++;
}

void __wrap_mb_log(int level, const char *format, ...) {
  (void)format;
  count_line(level);
}

void __wrap_mb_log_script(int level, const char *text, size_t len) {
  (void)text;
  (void)len;
  count_line(level);
}

static bool is_lost(void) { return client.output.size >= client.nature.breaks_after; }

/* ---- input ---- */

static void arrive(void) {
  CHECK(client.arrived < client.input.size, "waiting for ever");
  client.arrived += fuzz_piece(client.input, client.arrived, client.nature.split);
  client.now += ARRIVAL_USEC;
}

/* Returns whether there is nothing to be read: neither bytes nor the end. */
static bool is_silent(void) {
  if (client.taken < client.arrived || is_lost()) return false;
  return client.arrived < client.input.size || client.nature.stays;
}

static ssize_t read_client(struct mb_channel *c, void *data, size_t len, bool wait) {
  CHECK(c->in_fd >= 0, "reading from a closed socket");
  if (is_lost()) return -ECONNRESET;
  if (is_silent()) {
    if (!wait) return -EAGAIN;
    arrive();
  }
  size_t count = client.arrived - client.taken;
  if (count > len) count = len;
  if (count > 0) memcpy(data, client.input.data + client.taken, count);
  client.taken += count;
  return (ssize_t)count;
}

/* ---- output ---- */

static void read_output(void) {
  client.room = client.taken == client.input.size ? SIZE_MAX : SLOW_BYTES;
}

/* Returns whether output can be written. A client that has sent everything reads what is there. */
static bool has_room(void) {
  if (is_lost()) return true; /* a write reports the loss */
  if (client.room == 0 && client.taken == client.input.size) read_output();
  return client.room > 0;
}

static size_t take_output(const char *data, size_t size) {
  if (size > client.room) size = client.room;
  if (client.nature.slow) client.room -= size;
  if (client.room == 0) client.full = client.now;
  fuzz_add(&client.output, (struct mb_span){data, size});
  return size;
}

static ssize_t write_client(struct mb_channel *c, const struct iovec *pieces, int count,
                            bool wait) {
  size_t total = 0;
  CHECK(c->out_fd >= 0, "writing to a closed socket");
  CHECK(!client.output_ended, "writing behind the end");
  if (is_lost()) return -ECONNRESET;
  if (!has_room()) {
    if (!wait) return -EAGAIN;
    read_output();
  }
  for (int i = 0; i < count; i++) total += take_output(pieces[i].iov_base, pieces[i].iov_len);
  return (ssize_t)total;
}

static ssize_t send_file(struct mb_channel *c, int file, off_t offset, size_t count) {
  static char bytes[1000];
  if (c->kind == MB_FD_FILE) return -EINVAL;
  if (is_lost()) return -ECONNRESET;
  if (!has_room()) return -EAGAIN;
  if (count > sizeof bytes) count = sizeof bytes;
  if (count > client.room) count = client.room;
  ssize_t size = pread(file, bytes, count, offset);
  if (size <= 0) return size < 0 ? -errno : 0;
  struct iovec piece = {bytes, (size_t)size};
  return write_client(c, &piece, 1, false);
}

/* ---- the end ---- */

static int end_output(struct mb_channel *c) {
  CHECK(c->out_fd >= 0 && !client.output_ended, "ended twice");
  if (is_lost()) return -ECONNRESET;
  client.output_ended = true;
  return 0;
}

static int end(struct mb_channel *c, bool output_ended) {
  CHECK(c->out_fd >= 0 && output_ended == client.output_ended, "%d", output_ended);
  client.output_ended = true;
  return 0;
}

static void reset(const struct mb_channel *c) {
  (void)c;
  client.reset = true;
}

/* The client takes at once all that it has room for. */
static int unsent(const struct mb_channel *c) { return c->kind == MB_FD_FILE ? -ENOTSOCK : 0; }

static int64_t silence(const struct mb_channel *c) {
  (void)c;
  return -ENOTSOCK;
}

const struct mb_transport client_transport = {
    .read = read_client,
    .writev = write_client,
    .sendfile = send_file,
    .unsent = unsent,
    .silence = silence,
    .end_output = end_output,
    .end = end,
    .reset = reset,
};

/* ---- waiting ---- */

static int find_ready(struct pollfd *fds, nfds_t count) {
  int ready = 0;
  for (nfds_t i = 0; i < count; i++) {
    fds[i].revents = 0;
    if (fds[i].events & POLLIN && !is_silent()) fds[i].revents |= POLLIN;
    if (fds[i].events & POLLOUT && has_room()) fds[i].revents |= POLLOUT;
    if (fds[i].revents) ready++;
  }
  return ready;
}

static int wait_until(struct pollfd *fds, nfds_t count, int64_t deadline) {
  int64_t reads_at = client.full + SLOW_PATIENCE_USEC;
  if (reads_at < client.now) reads_at = client.now;
  for (;;) {
    int ready = find_ready(fds, count);
    if (ready > 0) return ready;
    if (client.arrived < client.input.size && client.now + ARRIVAL_USEC <= deadline) {
      arrive();
    } else if (client.room == 0 && reads_at <= deadline) {
      client.now = reads_at;
      read_output();
    } else {
      CHECK(deadline != MB_NO_DEADLINE, "waiting for ever");
      client.now = deadline;
      return 0;
    }
  }
}

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout) {
  return wait_until(fds, count,
                    timeout < 0 ? MB_NO_DEADLINE : client.now + 1000 * (int64_t)timeout);
}

int __wrap_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                 const sigset_t *mask) {
  (void)mask;
  if (!timeout) return wait_until(fds, count, MB_NO_DEADLINE);
  return wait_until(fds, count, client.now + timeout->tv_sec * 1000000 + timeout->tv_nsec / 1000);
}

/* Does not set a timer: the fuzzer's own stays, which ends an input that takes too long. */
int __wrap_setitimer(__itimer_which_t which, const struct itimerval *value, struct itimerval *old) {
  bool stops = value->it_value.tv_sec == 0 && value->it_value.tv_usec == 0;
  return stops ? 0 : __real_setitimer(which, value, old);
}
