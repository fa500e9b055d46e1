/* src/base/fdio.c: deadlines, signals that interrupt, decisions after failed calls, numbers of seconds. */
#include "base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "../../lib/tap.h"

static void kinds(void) {
  int pair[2], pipes[2];
  int tcp = socket(AF_INET6, SOCK_STREAM, 0);
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || pipe(pipes) != 0 || tcp < 0)
    tap_bail("fds");
  tap_int(mb_fd_kind_of(tcp), MB_FD_TCP, "a TCP socket");
  tap_int(mb_fd_kind_of(pair[0]), MB_FD_LOCAL, "a Unix socket");
  tap_int(mb_fd_kind_of(pipes[0]), MB_FD_FILE, "a pipe is a file");
  tap_int(mb_fd_kind_of(-1), MB_FD_FILE, "so is what is not open");
  tap_int(mb_fd_set_nonblocking(pipes[0], true), 0, "O_NONBLOCK is set");
  tap_ok(fcntl(pipes[0], F_GETFL) & O_NONBLOCK, "on the description");
  tap_int(mb_fd_set_nonblocking(pipes[0], false), 0, "and cleared");
  tap_ok(!(fcntl(pipes[0], F_GETFL) & O_NONBLOCK), "again");
  tap_int(mb_fd_set_nonblocking(-1, true), -EBADF, "a closed descriptor is an error");
  tap_int(mb_fd_poll(pipes[0], POLLIN, 0), 0, "an empty pipe has nothing to read");
  tap_int(mb_fd_poll(pipes[1], POLLOUT, MB_NO_DEADLINE), POLLOUT, "and room to write");
  for (int i = 0; i < 2; i++) {
    close(pair[i]);
    close(pipes[i]);
  }
  tap_int(mb_fd_poll(pipes[0], POLLIN, MB_NO_DEADLINE), -EBADF, "a closed one is told at once");
  close(tcp);
}

static int option(int fd, int level, int name) {
  int value = -1;
  socklen_t len = sizeof value;
  return getsockopt(fd, level, name, &value, &len) == 0 ? value : -1;
}

static void keepalive(void) {
  static const struct {
    int seconds, idle, interval;
  } cases[] = {{1, 1, 1},      {4, 2, 1},      {5, 3, 1},
               {240, 120, 30}, {241, 121, 30}, {MB_KEEPALIVE_MAX, 32767, 8192}};
  int tcp = socket(AF_INET6, SOCK_STREAM, 0), pair[2];
  if (tcp < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) tap_bail("fds");
  tap_int(option(tcp, SOL_SOCKET, SO_KEEPALIVE), 0, "keepalive is off by default");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tap_int(mb_fd_set_keepalive(tcp, cases[i].seconds), 0, "keepalive is set");
    tap_int(option(tcp, SOL_SOCKET, SO_KEEPALIVE), 1, "on");
    tap_int(option(tcp, IPPROTO_TCP, TCP_KEEPIDLE), cases[i].idle, "half of the time");
    tap_int(option(tcp, IPPROTO_TCP, TCP_KEEPINTVL), cases[i].interval, "a fourth of the rest");
    tap_int(option(tcp, IPPROTO_TCP, TCP_KEEPCNT), 4, "four times");
  }
  tap_int(mb_fd_set_keepalive(-1, 240), -EBADF, "a closed descriptor has no keepalive");
  tap_ok(mb_fd_set_keepalive(pair[0], 240) < 0, "nor has a Unix socket");
  close(tcp);
  close(pair[0]);
  close(pair[1]);
}

static int after(int number, int fd, bool wait) {
  errno = number;
  return mb_fd_try_again(fd, POLLOUT, wait);
}

static void failed_calls(void) {
  int pipes[2];
  if (pipe(pipes) != 0) tap_bail("pipe");
  tap_int(after(EINTR, -1, false), 0, "an interrupted call is made again");
  tap_int(after(EAGAIN, pipes[1], false), -EAGAIN, "one that would block is not, without a wait");
  tap_int(after(EAGAIN, pipes[1], true), 0, "and is when the event is there");
  tap_int(after(EIO, pipes[1], true), -EIO, "any other failure is told");
  close(pipes[0]);
  close(pipes[1]);
  tap_int(after(EAGAIN, pipes[1], true), -EBADF, "a wait on a closed descriptor fails");
  tap_ok(mb_fd_is_gone(-EPIPE) && mb_fd_is_gone(-ECONNRESET), "a peer that has gone is gone");
  tap_ok(mb_fd_is_lost(-ECONNRESET) && mb_fd_is_lost(-EHOSTUNREACH), "a broken connection is lost");
  tap_ok(!mb_fd_is_lost(-EPIPE), "one that the peer has ended is not");
  tap_ok(!mb_fd_is_gone(-ENOMEM) && !mb_fd_is_gone(-EIO), "a system in trouble is none");
}

static void seconds(void) {
  tap_int(mb_usec_of(1.5), 1500000, "seconds with a fraction");
  tap_int(mb_usec_of(1e-7), 1, "are rounded up");
  tap_int(mb_usec_of(0), 0, "none");
  tap_int(mb_usec_of(-1), 0, "less than none");
  tap_int(mb_usec_of(NAN), 0, "what is no number");
  tap_ok(mb_usec_of(INFINITY) == (int64_t)(MB_SECONDS_MAX * 1e6), "too many");
}

static volatile sig_atomic_t ticks;

static void tick(int signal_number) {
  (void)signal_number;
  ticks = ticks + 1;
}

/* Signals interrupt the wait again and again, and its deadline holds. */
static void interrupted(void) {
  struct sigaction action = {.sa_handler = tick};
  sigaction(SIGALRM, &action, NULL);
  struct itimerval storm = {.it_interval.tv_usec = 500, .it_value.tv_usec = 500};
  setitimer(ITIMER_REAL, &storm, NULL);
  int pipes[2];
  if (pipe(pipes) != 0) tap_bail("pipe");
  int64_t start = mb_now_usec();
  tap_int(mb_fd_poll(pipes[0], POLLIN, start + 100000), 0,
          "a deadline is reached through interrupts");
  int64_t took = mb_now_usec() - start;
  storm = (struct itimerval){0};
  setitimer(ITIMER_REAL, &storm, NULL);
  /* $MB_LOAD is how many tests share a processor: the upper bound grows with it. */
  const char *load = getenv("MB_LOAD");
  double limit = 1e6 * (load && atof(load) > 1 ? atof(load) : 1);
  tap_ok(took >= 100000 && (double)took < limit, "in its time: %lld us", (long long)took);
  tap_ok(ticks > 10, "there were interrupts");
}

int main(void) {
  kinds();
  keepalive();
  failed_calls();
  seconds();
  interrupted();
  return tap_done();
}
