/*
 * src/socket/handle_interest.c: what a handle waits for, and when it is ready, in each state that it can be
 * in. An operation on a ready handle must not wait, and one on another must not spin.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/peers.h"
#include "../../lib/tap.h"
#include "base/connect.h"
#include "socket/handle.h"
#include "socket/handle_methods.h"
#include "state/state.h"
#include "lua_state.h"

#define BOTH (POLLIN | POLLOUT)

/* A wait that must time out takes so long. One that must not has this limit, which only a fault reaches. */
#define SOON_USEC  30000
#define NEVER_USEC 10000000

static struct mb_state state;
static lua_State *L;

/* ---- handles, which the Lua stack keeps ---- */

static struct mb_handle *new_handle(int in_fd, int out_fd, enum mb_fd_kind kind) {
  struct mb_handle *h = mb_handle_new(L);
  mb_handle_attach(h, mb_channel_of(in_fd, out_fd, kind));
  lua_pushvalue(L, -1);
  lua_setglobal(L, "s");
  return h;
}

static struct mb_handle *socket_handle(void (*make)(int[2]), enum mb_fd_kind kind, int *ret_peer) {
  int pair[2];
  make(pair);
  *ret_peer = pair[1];
  return new_handle(pair[0], pair[0], kind);
}

static struct mb_handle *unix_handle(int *ret_peer) {
  return socket_handle(peers_unix, MB_FD_LOCAL, ret_peer);
}

static struct mb_handle *tcp_handle(int *ret_peer) {
  return socket_handle(peers_tcp, MB_FD_TCP, ret_peer);
}

static void run(const char *script) {
  if (luaL_dostring(L, script) != LUA_OK) tap_bail(lua_tostring(L, -1));
}

static void end_all(void) {
  lua_pushnil(L);
  lua_setglobal(L, "s");
  lua_settop(L, 0);
  lua_gc(L, LUA_GCCOLLECT, 0);
}

static void send_text(int fd, const char *text) {
  if (write(fd, text, strlen(text)) != (ssize_t)strlen(text)) tap_bail("write");
}

static ssize_t receive(struct mb_handle *h) { return mb_handle_receive(L, h, 100, false); }

static int64_t soon(void) { return mb_now_usec() + SOON_USEC; }
static int64_t never(void) { return mb_now_usec() + NEVER_USEC; }

/* ---- an interest as text: "ready i, input i, output o" ---- */

static const char *letters(short events) {
  switch (events) {
    case POLLIN:
      return "i";
    case POLLOUT:
      return "o";
    case BOTH:
      return "io";
    case 0:
      return "nothing";
    default:
      return "?";
  }
}

static const char *fd_name(const struct mb_handle *h, const struct mb_interest *interest, int fd) {
  if (interest->connecting) return fd == h->io.in_fd ? "attempt" : "?";
  if (h->io.in_fd == h->io.out_fd) return fd == h->io.in_fd ? "socket" : "?";
  return fd == h->io.in_fd ? "input" : fd == h->io.out_fd ? "output" : "?";
}

static void waits(struct mb_handle *h, short wanted, bool more, const char *want,
                  const char *what) {
  char text[80] = "";
  size_t len = 0;
  struct mb_interest interest = mb_handle_interest(h, wanted, more);
  if (interest.wanted != wanted) len = (size_t)sprintf(text, "wanted %d, ", interest.wanted);
  if (interest.ready) len += (size_t)sprintf(text + len, "ready %s, ", letters(interest.ready));
  for (int i = 0; i < interest.count; i++) {
    const struct pollfd *p = &interest.fds[i];
    len += (size_t)sprintf(text + len, "%s %s, ", fd_name(h, &interest, p->fd), letters(p->events));
  }
  if (len) text[len - 2] = '\0';
  tap_str(text, want, "%s: waits for %s%s", what, letters(wanted), more ? ", more of it" : "");
}

/* Checks the interest in each of the directions, and in both. */
static void waits_in_all(struct mb_handle *h, const char *in, const char *out, const char *both,
                         const char *what) {
  waits(h, POLLIN, false, in, what);
  waits(h, POLLOUT, false, out, what);
  waits(h, BOTH, false, both, what);
}

/* ---- states without an attempt ---- */

static void sockets(void) {
  int peer;
  struct mb_handle *h = unix_handle(&peer);
  waits_in_all(h, "socket i", "socket o", "socket io", "a socket");
  tap_int(mb_handle_wait(h, BOTH, false, never()), POLLOUT, "a socket takes output");
  tap_int(mb_handle_wait(h, POLLIN, false, soon()), 0, "a socket has no input");
  send_text(peer, "input");
  tap_int(mb_handle_wait(h, POLLIN, false, never()), POLLIN, "a socket has input");
  tap_int(mb_handle_wait(h, BOTH, false, never()), BOTH, "a socket has both");

  tap_int(receive(h), 5, "it is received");
  waits_in_all(h, "ready i", "socket o", "ready i, socket o", "bytes in the buffer");
  tap_int(mb_handle_wait(h, BOTH, false, 0), POLLIN,
          "a ready event is told without a look at others");
  waits(h, POLLIN, true, "socket i", "too few bytes in the buffer");
  waits(h, BOTH, true, "socket io", "too few bytes in the buffer");
  tap_int(mb_handle_wait(h, POLLIN, true, soon()), 0, "the wait for more goes on");
  send_text(peer, "more");
  tap_int(mb_handle_wait(h, POLLIN, true, never()), POLLIN, "the wait for more is over");

  shutdown(peer, SHUT_WR);
  while (receive(h) > 0) continue;
  tap_ok(h->in_eof, "the end is seen");
  waits_in_all(h, "ready i", "socket o", "ready i, socket o", "the end of input");
  waits(h, POLLIN, true, "ready i", "the end of input");
  mb_buf_take(&h->in, mb_buf_len(&h->in));
  waits(h, POLLIN, true, "ready i", "the end of input, an empty buffer");
  close(peer);
  end_all();
}

static void errors(void) {
  int peer;
  struct mb_handle *h = tcp_handle(&peer);
  peers_reset(peer);
  tap_int(mb_handle_wait(h, POLLIN, false, never()), POLLIN, "a reset ends the wait for input");
  tap_int(receive(h), -ECONNRESET, "it is an error of input");
  tap_int(h->in_error, ECONNRESET, "which stays");
  waits_in_all(h, "ready i", "socket o", "ready i, socket o", "an error of input");
  waits(h, POLLIN, true, "ready i", "an error of input");
  mb_handle_output_failed(h, -EPIPE);
  waits_in_all(h, "ready i", "ready o", "ready io", "errors in both directions");

  h = unix_handle(&peer);
  mb_handle_output_failed(h, -EPIPE);
  waits_in_all(h, "socket i", "ready o", "ready o, socket i", "an error of output");
  tap_int(mb_handle_wait(h, POLLOUT, false, 0), POLLOUT, "a write that fails does not wait");
  close(peer);
  end_all();
}

static void ends(void) {
  int peers[6];
  lua_settop(L, 0);
  struct mb_handle *unused = mb_handle_new(L);
  waits_in_all(unused, "ready i", "ready o", "ready io", "nothing attached");
  tap_int(mb_handle_wait(unused, BOTH, true, never()), BOTH, "nothing attached: no wait");
  static const struct {
    const char *how, *in, *out, *both;
    bool tcp;
  } cases[] = {
      {"s:close()", "ready i", "ready o", "ready io", true},
      {"s:close()", "ready i", "ready o", "ready io", false},
      {"s:reset()", "ready i", "ready o", "ready io", true},
      {"s:reset()", "ready i", "ready o", "ready io", false},
      {"s:finish()", "socket i", "ready o", "ready o, socket i", true},
      {"s:finish()", "ready i", "ready o", "ready io", false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char what[32];
    snprintf(what, sizeof what, "%s on %s", cases[i].how, cases[i].tcp ? "TCP" : "Unix");
    struct mb_handle *h = cases[i].tcp ? tcp_handle(&peers[i]) : unix_handle(&peers[i]);
    run(cases[i].how);
    waits_in_all(h, cases[i].in, cases[i].out, cases[i].both, what);
    tap_int(mb_handle_wait(h, BOTH, false, never()) & POLLOUT, POLLOUT, "%s: no wait", what);
  }
  end_all();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) close(peers[i]);
}

/* ---- files and pipes ---- */

static void replays(void) {
  int in[2], out[2];
  char byte;
  if (pipe(in) != 0 || pipe(out) != 0) tap_bail("pipe");
  struct mb_handle *h = new_handle(in[0], out[1], MB_FD_FILE);
  waits_in_all(h, "input i", "output o", "input i, output o", "a replay");
  tap_int(mb_handle_wait(h, POLLIN, false, soon()), 0, "a replay: no input yet");
  tap_int(mb_handle_wait(h, BOTH, false, never()), POLLOUT, "a replay takes output");
  send_text(in[1], "input");
  tap_int(mb_handle_wait(h, BOTH, false, never()), BOTH, "a replay has both");
  receive(h);
  waits(h, BOTH, false, "ready i, output o", "a replay, bytes in the buffer");
  waits(h, BOTH, true, "input i, output o", "a replay, too few bytes");

  while (mb_handle_send_now(h, "0123456789", 10, 0, false) > 0) continue;
  tap_int(mb_handle_wait(h, POLLOUT, false, soon()), 0, "a full pipe is waited for");
  tap_int(mb_handle_wait(h, BOTH, true, soon()), 0, "beside input that does not come");
  close(in[1]);
  tap_int(mb_handle_wait(h, BOTH, true, never()), POLLIN,
          "an end of input (POLLHUP) counts as input");
  while (read(out[0], &byte, 1) > 0 && mb_handle_wait(h, POLLOUT, false, 0) == 0) continue;
  tap_int(mb_handle_wait(h, POLLOUT, false, 0), POLLOUT, "once read from, it takes output");
  while (mb_handle_send_now(h, "0123456789", 10, 0, false) > 0) continue;
  close(out[0]);
  tap_int(mb_handle_wait(h, POLLOUT, false, never()), POLLOUT,
          "no reader (POLLERR) counts as output");
  run("s:finish()");
  mb_buf_take(&h->in, mb_buf_len(&h->in));
  waits_in_all(h, "input i", "ready o", "ready o, input i", "a replay that is finished");
  end_all();

  /* Regular files never wait. */
  FILE *file = tmpfile();
  h = new_handle(dup(fileno(file)), dup(fileno(file)), MB_FD_FILE);
  tap_int(mb_handle_wait(h, BOTH, true, 0), BOTH, "regular files are ready");
  fclose(file);
  end_all();
}

static void pipes(void) {
  int fds[2];
  if (pipe(fds) != 0) tap_bail("pipe");
  struct mb_handle *in = new_handle(fds[0], -1, MB_FD_PIPE);
  waits_in_all(in, "input i", "ready o", "ready o, input i", "a child's output");
  tap_int(mb_handle_wait(in, POLLIN, false, soon()), 0, "a child's output: nothing there");
  struct mb_handle *out = new_handle(-1, fds[1], MB_FD_PIPE);
  waits_in_all(out, "ready i", "output o", "ready i, output o", "a child's input");
  tap_int(mb_handle_wait(out, POLLOUT, false, never()), POLLOUT, "a child's input takes bytes");
  run("s:close()");
  tap_int(mb_handle_wait(in, POLLIN, false, never()), POLLIN, "a child's output: its end");
  waits_in_all(out, "ready i", "ready o", "ready io", "a child's input that is closed");
  end_all();
}

/* ---- what poll(2) reports ---- */

static short ready_after(struct mb_handle *h, short wanted, short told) {
  struct mb_interest interest = mb_handle_interest(h, wanted, false);
  struct pollfd polled[2];
  memcpy(polled, interest.fds, sizeof polled);
  for (int i = 0; i < interest.count; i++) polled[i].revents = told;
  return mb_handle_ready(h, &interest, polled);
}

static void reports(void) {
  static const struct {
    short wanted, told, ready;
  } cases[] = {
      {BOTH, 0, 0},
      {POLLIN, POLLIN, POLLIN},
      {POLLOUT, POLLOUT, POLLOUT},
      {BOTH, POLLIN, POLLIN},
      {BOTH, POLLOUT, POLLOUT},
      {BOTH, BOTH, BOTH},
      {POLLIN, BOTH, POLLIN},
      {POLLOUT, POLLIN, 0},
      {POLLIN, POLLOUT, 0},
      {POLLIN, POLLHUP, POLLIN},
      {POLLOUT, POLLHUP, POLLOUT},
      {BOTH, POLLHUP, BOTH},
      {POLLIN, POLLERR, POLLIN},
      {POLLOUT, POLLERR, POLLOUT},
      {BOTH, POLLERR, BOTH},
      {BOTH, POLLNVAL, BOTH},
      {POLLOUT, POLLIN | POLLHUP, POLLOUT},
      {POLLIN, POLLOUT | POLLERR, POLLIN},
  };
  int peer, peer2, fds[2];
  struct mb_handle *h = unix_handle(&peer);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tap_int(ready_after(h, cases[i].wanted, cases[i].told), cases[i].ready,
            "wanted %s, poll(2) says 0x%x", letters(cases[i].wanted), (unsigned)cases[i].told);
  }
  struct mb_handle *full = unix_handle(&peer2);
  send_text(peer2, "x");
  receive(full);
  tap_int(ready_after(full, BOTH, 0), POLLIN, "what needs no wait is there whatever poll(2) says");
  tap_int(ready_after(full, BOTH, POLLHUP), BOTH, "and what poll(2) says is there beside it");
  /* Each of two descriptors tells of its own direction. */
  if (pipe(fds) != 0) tap_bail("pipe");
  struct mb_handle *replay = new_handle(fds[0], fds[1], MB_FD_FILE);
  struct mb_interest interest = mb_handle_interest(replay, BOTH, false);
  interest.fds[0].revents = POLLHUP;
  tap_int(mb_handle_ready(replay, &interest, interest.fds), POLLIN, "an error of the input only");
  interest.fds[0].revents = 0;
  interest.fds[1].revents = POLLERR;
  tap_int(mb_handle_ready(replay, &interest, interest.fds), POLLOUT, "an error of the output only");
  close(peer);
  close(peer2);
  end_all();
}

/* A process that may have no descriptors may not poll one either. Valgrind does not pass the limit on. */
static void poll_fails(struct mb_handle *h) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max});
  struct pollfd stdin_only = {.fd = 0};
  bool fails = poll(&stdin_only, 1, 0) < 0;
  int of_output = fails ? mb_handle_wait(h, POLLOUT, false, never()) : -EINVAL;
  int of_input = fails ? mb_handle_wait_for_input(h, never()) : -EINVAL;
  setrlimit(RLIMIT_NOFILE, &limit);
  tap_int(of_output, -EINVAL, "poll(2) fails: the error is returned");
  tap_int(of_input, -EINVAL, "by the wait for input as well");
}

static void deadlines(void) {
  int peer;
  struct mb_handle *h = unix_handle(&peer);
  int64_t deadline = soon();
  tap_int(mb_handle_wait(h, POLLIN, false, deadline), 0, "the deadline passes");
  tap_ok(mb_now_usec() >= deadline, "not before its time");
  tap_int(mb_handle_wait(h, POLLIN, false, 0), 0, "a deadline that has passed");
  tap_int(mb_handle_wait_for_input(h, soon()), -EAGAIN, "the deadline of a wait for input");
  send_text(peer, "x");
  tap_int(mb_handle_wait(h, POLLIN, false, 0), POLLIN,
          "what is there is told after the deadline too");
  tap_int(mb_handle_wait_for_input(h, 0), 0, "to a wait for input as well");
  receive(h);
  tap_int(mb_handle_wait_for_input(h, soon()), -EAGAIN,
          "bytes in the buffer are not what it waits for");
  poll_fails(h);
  run("s:close()");
  tap_int(mb_handle_wait_for_input(h, never()), 0, "a closed handle: no wait for input");
  close(peer);
  end_all();
}

/* ---- the wait of a read that has too little ---- */

static struct mb_handle *reading;
static int reading_peer, rounds;

/* Is called while read_call waits for 8 bytes. */
static int waiting(lua_State *state_of_call) {
  (void)state_of_call;
  struct mb_handle *h = reading;
  waits(h, POLLIN, h->in_short, "socket i", "a read_call that has too little");
  waits(h, POLLIN, false, mb_buf_len(&h->in) > 0 ? "ready i" : "socket i",
        "another read meanwhile");
  send_text(reading_peer, ++rounds < 2 ? "1234" : "5678rest");
  return 0;
}

static void short_reads(void) {
  reading = unix_handle(&reading_peer);
  lua_register(L, "waiting", waiting);
  tap_ok(!reading->in_short, "no read has begun");
  run("assert(s:read_call(waiting, 8) == '12345678')");
  tap_int(rounds, 2, "the read has waited");
  tap_ok(!reading->in_short, "once met, the rest counts again");
  waits(reading, POLLIN, reading->in_short, "ready i", "the rest");
  run("pcall(s.read_call, s, function() error() end, 8)");
  tap_ok(reading->in_short, "a read that was given up has left too little");
  waits(reading, POLLIN, reading->in_short, "socket i", "after it");
  run("assert(s:read_nb(1) == 'r')");
  waits(reading, POLLIN, reading->in_short, "ready i", "the next read forgets that");
  close(reading_peer);
  end_all();
}

/* ---- attempts to connect ---- */

static struct mb_handle *connecting(int count, const uint16_t ports[]) {
  struct addrinfo *list = NULL, **end = &list;
  for (int i = 0; i < count; i++) {
    char port[8];
    snprintf(port, sizeof port, "%u", ports[i]);
    if (mb_resolve("127.0.0.1", port, false, end) != 0) tap_bail("mb_resolve of a literal");
    end = &(*end)->ai_next;
  }
  struct mb_attempt *attempt = mb_attempt_new(&state.alloc, "name:port");
  mb_attempt_set_addresses(attempt, list);
  int fd = mb_attempt_start(attempt);
  if (fd < 0) tap_bail("mb_attempt_start");
  struct mb_handle *h = new_handle(fd, fd, MB_FD_TCP);
  h->attempt = attempt;
  return h;
}

/* Polls once, and returns what is ready then. */
static short step(struct mb_handle *h, short wanted) {
  struct mb_interest interest = mb_handle_interest(h, wanted, false);
  if (mb_fd_poll_all(interest.fds, (size_t)interest.count, never()) <= 0) tap_bail("poll");
  return mb_handle_ready(h, &interest, interest.fds);
}

static void connects(void) {
  uint16_t port;
  int listener = peers_listen(&port);
  struct mb_handle *h = connecting(1, &port);
  waits_in_all(h, "attempt o", "attempt o", "attempt o", "connecting");
  waits(h, POLLIN, true, "attempt o", "connecting");
  tap_int(step(h, POLLIN), 0, "a connection that is made is no input");
  tap_ok(h->attempt == NULL, "it is made");
  tap_int(mb_addr_port(&h->remote), port, "to the peer");
  waits_in_all(h, "socket i", "socket o", "socket io", "connected");
  tap_int(mb_handle_wait(h, POLLIN, false, soon()), 0, "no input after it");

  h = connecting(1, &port);
  tap_int(step(h, BOTH), POLLOUT, "a connection that is made takes output");
  h = connecting(1, &port);
  tap_int(mb_handle_wait(h, BOTH, false, never()), POLLOUT, "a wait ends with that");
  h = connecting(1, &port);
  tap_int(mb_handle_wait(h, POLLIN, false, soon()), 0, "a wait for input does not");
  tap_ok(h->attempt == NULL, "though it is connected meanwhile");
  for (int i = 0; i < 4; i++) close(accept(listener, NULL, NULL));
  h = connecting(1, &port);
  int peer = accept(listener, NULL, NULL);
  send_text(peer, "input");
  tap_int(mb_handle_wait(h, POLLIN, false, never()), POLLIN, "it does with the peer's first bytes");
  close(peer);
  close(listener);
  end_all();
}

/* Makes a listener whose queue is full: who connects to it is neither refused nor connected. */
static int full_listener(uint16_t *ret_port, int *ret_filler) {
  int listener = peers_listen(ret_port);
  listen(listener, 0);
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  name.sin_port = htons(*ret_port);
  *ret_filler = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(*ret_filler, (struct sockaddr *)&name, sizeof name) != 0) tap_bail("connect");
  if (mb_fd_poll(listener, POLLIN, never()) <= 0) tap_bail("the listener's queue is not full");
  return listener;
}

static void undecided(void) {
  uint16_t ports[2] = {peers_free_port()};
  int filler, listener = full_listener(&ports[1], &filler);
  struct mb_handle *h = connecting(1, &ports[1]);
  int64_t deadline = soon();
  tap_int(mb_handle_wait(h, BOTH, false, deadline), 0, "the deadline passes while it is undecided");
  tap_ok(mb_now_usec() >= deadline, "not before its time");
  waits_in_all(h, "attempt o", "attempt o", "attempt o", "undecided");

  /* The first address refuses, and the second one takes its time. */
  h = connecting(2, ports);
  int fd = mb_handle_fd(h);
  tap_int(step(h, BOTH), 0, "an address that refuses is no event");
  tap_int(mb_handle_fd(h), fd, "the descriptor keeps its number");
  waits_in_all(h, "attempt o", "attempt o", "attempt o", "the next address");
  tap_int(mb_handle_wait(h, BOTH, false, soon()), 0, "the wait for it goes on");
  h = connecting(2, ports);
  tap_int(mb_handle_wait(h, BOTH, false, soon()), 0, "one wait covers both addresses");
  tap_ok(h->attempt && h->attempt->at->ai_next == NULL, "the second one is tried");
  close(filler);
  close(listener);
  end_all();
}

static void refused(void) {
  uint16_t ports[3] = {peers_free_port(), peers_free_port()};
  int listener = peers_listen(&ports[2]);
  struct mb_handle *h = connecting(3, ports);
  tap_int(mb_handle_wait(h, POLLOUT, false, never()), POLLOUT, "the third address accepts");
  tap_ok(h->attempt == NULL && mb_addr_port(&h->remote) == ports[2], "it is the peer");
  waits(h, POLLIN, false, "socket i", "connected to the third address");
  close(listener);

  static const short wishes[] = {POLLIN, POLLOUT, BOTH};
  for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
    const char *name = letters(wishes[i]);
    h = connecting(2, ports);
    tap_int(mb_handle_wait(h, wishes[i], true, never()), wishes[i], "all refuse: %s is ready",
            name);
    tap_int(h->in_error, ECONNREFUSED, "%s: reads fail", name);
    tap_int(h->out_error, ECONNREFUSED, "%s: writes fail", name);
    waits_in_all(h, "ready i", "ready o", "ready io", "all have refused");
  }
  end_all();
}

/* ---- sending while it waits for input ---- */

#define QUEUED_BYTES 400000

/* The peer reads all of the queue, in small portions, and only then answers. */
static void read_slowly(int fd) {
  static char bytes[20000];
  size_t total = 0;
  while (total < QUEUED_BYTES) {
    mb_fd_poll_all(NULL, 0, mb_now_usec() + 1000);
    ssize_t n = read(fd, bytes, sizeof bytes);
    if (n <= 0) _exit(1);
    total += (size_t)n;
  }
  _exit(write(fd, "answer", 6) == 6 ? 0 : 2);
}

static void queue_bytes(struct mb_handle *h) {
  luaL_Buffer bytes;
  memset(luaL_buffinitsize(L, &bytes, QUEUED_BYTES), 'x', QUEUED_BYTES);
  luaL_pushresultsize(&bytes, QUEUED_BYTES);
  if (mb_handle_put(L, h, lua_gettop(L), MB_WRITE_FLUSH) != 0) tap_bail("mb_handle_put");
}

static void sending(void (*make)(int[2]), enum mb_fd_kind kind, const char *name) {
  const int room = 16384;
  int peer;
  struct mb_handle *h = socket_handle(make, kind, &peer);
  setsockopt(h->io.out_fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  queue_bytes(h);
  size_t left = h->out.len;
  tap_ok(left > 0, "%s: some is queued", name);
  tap_int(mb_handle_wait_for_input(h, soon()), -EAGAIN, "%s: the peer does not read", name);
  tap_ok(h->out.len > 0, "%s: some is queued still", name);
  pid_t child = fork();
  if (child == 0) read_slowly(peer);
  close(peer);
  tap_int(mb_handle_wait_for_input(h, never()), 0, "%s: the answer comes", name);
  tap_int((long long)h->out.len, 0, "%s: the queue was sent meanwhile", name);
  tap_int(receive(h), 6, "%s: the answer is read", name);
  int status = -1;
  mb_handle_reset(h);
  waitpid(child, &status, 0);
  tap_int(status, 0, "%s: the peer has got all", name);
  end_all();
}

/* A queue that cannot be sent does not end the wait, nor make it spin. */
static void sending_fails(void) {
  int peer;
  struct rusage before, after;
  struct mb_handle *h = unix_handle(&peer);
  lua_pushliteral(L, "some bytes");
  mb_handle_put(L, h, lua_gettop(L), MB_WRITE_BUFFER);
  tap_int((long long)h->out.len, 10, "a small write is queued");
  shutdown(peer, SHUT_RD);
  getrusage(RUSAGE_SELF, &before);
  tap_int(mb_handle_wait_for_input(h, mb_now_usec() + 300000), -EAGAIN,
          "the wait for input goes on");
  getrusage(RUSAGE_SELF, &after);
  struct timeval user, used;
  timersub(&after.ru_utime, &before.ru_utime, &user);
  timersub(&after.ru_stime, &before.ru_stime, &used);
  timeradd(&user, &used, &used);
  tap_ok(used.tv_sec == 0 && used.tv_usec < 150000, "it does not spin");
  tap_int(h->out_error, EPIPE, "the next write will tell");
  send_text(peer, "input");
  tap_int(mb_handle_wait_for_input(h, never()), 0, "input is still to be had");
  close(peer);
  end_all();
}

/* The queue goes out as soon as the attempt has a connection. */
static void sending_when_connected(void) {
  uint16_t port;
  int listener = peers_listen(&port);
  struct mb_handle *h = connecting(1, &port);
  char got[16];
  lua_pushliteral(L, "question");
  mb_handle_put(L, h, lua_gettop(L), MB_WRITE_BUFFER);
  tap_int(mb_handle_wait_for_input(h, soon()), -EAGAIN, "connecting: no input");
  int peer = accept(listener, NULL, NULL);
  tap_int(recv(peer, got, sizeof got, MSG_DONTWAIT), 8, "but what was queued is sent");
  close(peer);
  close(listener);
  end_all();
}

int main(void) {
  L = new_lua_state(&state);
  sockets();
  errors();
  ends();
  replays();
  pipes();
  reports();
  deadlines();
  short_reads();
  connects();
  undecided();
  refused();
  sending(peers_unix, MB_FD_LOCAL, "Unix");
  sending(peers_tcp, MB_FD_TCP, "TCP");
  sending_fails();
  sending_when_connected();
  lua_close(L);
  tap_int((long long)state.alloc.used, 0, "no memory is left over");
  return tap_done();
}
