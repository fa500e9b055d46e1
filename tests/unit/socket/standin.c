/*
 * src/socket/standin.c: how long a program may pause after the end of its connection, by a clock of this test's own; and
 * where it gets another connection.
 */
#include "socket/standin.h"

#include <arpa/inet.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../lib/peers.h"
#include "../../lib/tap.h"
#include "base/fdio.h"
#include "socket/handle.h"
#include "state/state.h"
#include "lua_state.h"

#define SECOND 1000000
#define BOUND  (60 * (int64_t)SECOND)

static struct mb_state state;
static lua_State *L;
static int64_t now = 1000 * (int64_t)SECOND;

/* Comes before that of libc. */
int clock_gettime(clockid_t clock, struct timespec *ret) {
  (void)clock;
  *ret = (struct timespec){.tv_sec = now / SECOND, .tv_nsec = now % SECOND * 1000};
  return 0;
}

/* Begins a program whose connection is this one. */
static void begin(int fd) {
  struct mb_handle *h = mb_handle_new(L);
  mb_handle_attach(h, mb_channel_of(fd, fd, MB_FD_TCP));
  mb_standin_begin(L, "luasocket");
}

static void accept_and_drop(void) {
  if (!mb_standin_take(L)) tap_bail("nothing to accept");
  lua_pop(L, 1);
}

/* Pauses for so many seconds. Returns whether the pause may last so long. */
static bool pause_for(double seconds) {
  int64_t deadline = now + (int64_t)(seconds * SECOND);
  int64_t end = mb_standin_pause(L, deadline);
  now = end;
  mb_standin_paused(L);
  return end == deadline;
}

/* Returns the exit status of a copy of this process that pauses so many times; 99 when it goes on after that. */
static int status_of_pauses(int count, double seconds) {
  pid_t child = fork();
  if (child < 0) tap_bail("fork");
  if (child == 0) {
    for (int i = 0; i < count; i++) pause_for(seconds);
    _exit(99);
  }
  int status;
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) tap_bail("the child");
  return WEXITSTATUS(status);
}

static void no_bound(const char *when) {
  tap_ok(pause_for(3600), "%s: a pause may be long", when);
  tap_ok(mb_standin_pause(L, MB_NO_DEADLINE) == MB_NO_DEADLINE, "%s: it may be endless", when);
  mb_standin_paused(L);
}

static void after_the_end(void) {
  tap_ok(mb_standin_pause(L, MB_NO_DEADLINE) == now + BOUND, "an endless pause has an end");
  mb_standin_paused(L);
  tap_ok(pause_for(20), "a pause that fits lasts as long as it is meant to");
  now += 3600 * (int64_t)SECOND;
  tap_ok(pause_for(39.9), "time between the pauses does not count");
  tap_int(mb_standin_pause(L, now + SECOND) - now, SECOND / 10, "the next gets what is left");
  tap_int(status_of_pauses(1, 0.05), 99, "while time is left the program goes on");
  tap_int(status_of_pauses(2, 0.05), 0, "when all of it is used the process ends with 0");
  tap_int(status_of_pauses(1, 3600), 0, "in the middle of a pause, too");
}

/* ---- further connections ---- */

static int next_result, next_fd, calls;
static int64_t next_deadline;

/* A source: returns next_result, 1 with the socket next_fd. */
static int next(lua_State *state_of, int64_t deadline, void *context) {
  tap_ok(context == &calls, "the source gets its context");
  calls++;
  next_deadline = deadline;
  if (next_result == 1)
    mb_handle_attach(mb_handle_new(state_of), mb_channel_of(next_fd, next_fd, MB_FD_TCP));
  return next_result;
}

static bool is_claimed(const char *address, int fd) {
  struct mb_addr local, remote, wanted;
  mb_addr_of(fd, &local, &remote);
  struct sockaddr_in *in = (struct sockaddr_in *)&wanted.storage;
  *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(mb_addr_port(&local))};
  inet_pton(AF_INET, address, &in->sin_addr);
  wanted.len = sizeof *in;
  return mb_standin_is(&wanted);
}

static void further(void) {
  struct mb_standin_source source = {.fd = 77, .is_one = true, .next = next, .context = &calls};
  int pairs[2][2];
  peers_tcp(pairs[0]);
  peers_tcp(pairs[1]);
  tap_ok(!mb_standin_next(L, 0) && mb_standin_source_fd() < 0, "without a source none comes");
  mb_standin_continue(&source);
  tap_int(mb_standin_source_fd(), -1, "nor without a program");
  begin(pairs[0][0]);
  tap_int(mb_standin_source_fd(), 77, "a source, for a program");
  tap_ok(mb_standin_next(L, 0) && calls == 0, "the first connection waits already");
  accept_and_drop();
  next_result = 0;
  tap_ok(!mb_standin_next(L, 5) && calls == 1, "none comes");
  tap_ok(next_deadline == 5 && !mb_standin_serving(),
         "until the deadline; the one before is closed");
  tap_int(mb_standin_source_fd(), 77, "another may come later");
  next_result = 1;
  next_fd = pairs[1][0];
  tap_ok(mb_standin_next(L, MB_NO_DEADLINE) && mb_standin_pending(), "another one can be accepted");
  tap_int(mb_standin_fd(), next_fd, "it is the listener's");
  accept_and_drop();
  tap_ok(mb_standin_serving(), "and is served");
  source.is_one = false;
  tap_int(mb_standin_source_fd(), -1, "none for a program without an address, of several");
  tap_ok(is_claimed("127.0.0.1", next_fd), "a listener on one address");
  tap_int(mb_standin_source_fd(), -1, "would not get those to others");
  tap_ok(is_claimed("0.0.0.0", next_fd), "one on all addresses");
  tap_int(mb_standin_source_fd(), 77, "gets them all");
  next_result = -1;
  tap_ok(!mb_standin_next(L, 0) && mb_standin_source_fd() < 0, "the source ends");
  int before = calls;
  tap_ok(!mb_standin_next(L, 0) && calls == before, "and is not asked again");
  mb_standin_continue(&source);
  mb_standin_forget();
  begin(-1);
  tap_int(mb_standin_source_fd(), -1, "the next program has none");
  mb_standin_forget();
  for (int i = 0; i < 2; i++) close(pairs[i][1]);
}

int main(void) {
  L = new_lua_state(&state);
  int pair[2];
  peers_tcp(pair);
  no_bound("without a program");
  begin(pair[0]);
  no_bound("before it accepts");
  accept_and_drop();
  no_bound("while the connection is open");
  mb_standin_close();
  after_the_end();
  mb_standin_forget();
  further();
  lua_close(L);
  close(pair[1]);
  return tap_done();
}
