/*
 * src/socket/handle*.c: finalizers that end a handle in the middle of a call, handles that get another
 * descriptor or give theirs away, and the ways in which a handle ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/peers.h"
#include "../../lib/tap.h"
#include "base/connect.h"
#include "base/log.h"
#include "socket/handle.h"
#include "socket/handle_methods.h"
#include "socket/timeout.h"
#include "state/state.h"
#include "lua_state.h"

/* What finalizers and error messages may need below the limit of memory. It is less than any buffer. */
#define SPARE_BYTES 3000

#define NEVER_USEC 10000000

static struct mb_state state;
static lua_State *L;

/* ---- handles: the one at index 1 of the stack is the script's s ---- */

static struct mb_handle *new_handle(int in_fd, int out_fd, enum mb_fd_kind kind) {
  lua_settop(L, 0);
  struct mb_handle *h = mb_handle_new(L);
  mb_handle_attach(h, mb_channel_of(in_fd, out_fd, kind));
  if (kind == MB_FD_TCP) mb_fd_set_reset_on_close(in_fd, kind, true);
  lua_pushvalue(L, -1);
  lua_setglobal(L, "s");
  return h;
}

static struct mb_handle *tcp_handle(int *ret_peer) {
  int pair[2];
  peers_tcp(pair);
  *ret_peer = pair[1];
  return new_handle(pair[0], pair[0], MB_FD_TCP);
}

static struct mb_handle *unix_handle(int *ret_peer) {
  int pair[2];
  peers_unix(pair);
  *ret_peer = pair[1];
  return new_handle(pair[0], pair[0], MB_FD_LOCAL);
}

static void run(const char *script) {
  if (luaL_dostring(L, script) != LUA_OK) tap_bail(lua_tostring(L, -1));
}

static void send_text(int fd, const char *text) {
  if (write(fd, text, strlen(text)) != (ssize_t)strlen(text)) tap_bail("write");
}

/* Queues bytes, which stay in the queue. */
static void queue_text(struct mb_handle *h, const char *text) {
  lua_settop(L, 1);
  lua_pushstring(L, text);
  if (mb_handle_put(L, h, 2, MB_WRITE_BUFFER) != 0) tap_bail("mb_handle_put");
  lua_settop(L, 1);
}

/* Returns what the peer reads until the end; "reset" or another error in place of it. */
static const char *rest_of(int fd) {
  static char text[100];
  ssize_t n;
  size_t len = 0;
  while (mb_fd_poll(fd, POLLIN, mb_now_usec() + NEVER_USEC) > 0 &&
         (n = read(fd, text + len, sizeof text - 1 - len)) != 0) {
    if (n < 0) return errno == ECONNRESET ? "reset" : strerror(errno);
    len += (size_t)n;
  }
  text[len] = '\0';
  return text;
}

static bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

static bool resets_on_close(int fd) {
  struct linger linger = {0, 0};
  socklen_t len = sizeof linger;
  getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len);
  return linger.l_onoff;
}

/* ---- finalizers that run in the middle of a call ---- */

static int result;

static int call_receive(lua_State *l) {
  result = (int)mb_handle_receive(l, mb_handle_at(l, 1), 100, false);
  return 0;
}

static int call_write(lua_State *l) {
  result = mb_handle_put(l, mb_handle_at(l, 1), 2, MB_WRITE_BUFFER);
  return 0;
}

static int call_flush(lua_State *l) {
  result = mb_handle_put(l, mb_handle_at(l, 1), 2, MB_WRITE_FLUSH);
  return 0;
}

static int call_queue(lua_State *l) {
  result = mb_handle_queue(l, mb_handle_at(l, 1), "bytes", 5);
  return 0;
}

/* Adds garbage: an object with a finalizer, and as many bytes. Only the call under test shall collect it. */
static void add_garbage(const char *finalizer, size_t bytes) {
  char script[200];
  lua_gc(L, LUA_GCCOLLECT, 0);
  lua_gc(L, LUA_GCSTOP, 0);
  snprintf(script, sizeof script, "setmetatable({}, {__gc = function() %s end})", finalizer);
  run(script);
  if (!bytes) return;
  lua_newuserdata(L, bytes);
  lua_pop(L, 1);
}

/* Calls what is on the stack above the handle. Returns the message of its error, or NULL. */
static const char *error_of_call(void) {
  static char message[200];
  result = 1;
  int status = lua_pcall(L, lua_gettop(L) - 2, 0, 0);
  if (status != LUA_OK) snprintf(message, sizeof message, "%s", lua_tostring(L, -1));
  lua_settop(L, 1);
  return status == LUA_OK ? NULL : message;
}

/* A call while memory is short, the finalizer that runs during it, and what comes of both. */
struct meddling {
  lua_CFunction call;
  const char *finalizer;
  size_t garbage;
  const char *error; /* NULL: it does not throw */
  int result;
};

static const char *error_of(const struct meddling *m, const char *argument) {
  lua_pushcfunction(L, m->call);
  lua_pushvalue(L, 1);
  lua_pushstring(L, argument);
  add_garbage(m->finalizer, m->garbage);
  state.alloc.limit = state.alloc.used + SPARE_BYTES;
  const char *error = error_of_call();
  state.alloc.limit = 0;
  return error;
}

/* Collects the handles of a test. */
static void end_all(void) {
  lua_settop(L, 0);
  run("s = nil");
  lua_gc(L, LUA_GCCOLLECT, 0);
}

#define CLOSED   "the socket is closed"
#define RESET    "the socket has been reset"
#define FINISHED "the socket's output is finished: nothing can be sent any more"

static void finalizers(void) {
  static const struct meddling cases[] = {
      {call_receive, "", 100000, NULL, 5},
      {call_receive, "", 0, "not enough memory", 1},
      {call_receive, "s:close()", 100000, CLOSED, 1},
      {call_receive, "s:reset()", 100000, RESET, 1},
      {call_receive, "s:finish()", 100000, NULL, 0}, /* a Unix socket ends in both directions */
      {call_write, "", 100000, NULL, 0},
      {call_write, "", 0, "not enough memory", 1},
      {call_write, "s:close()", 100000, CLOSED, 1},
      {call_write, "s:reset()", 100000, RESET, 1},
      {call_write, "s:finish()", 100000, FINISHED, 1},
      {call_queue, "", 100000, NULL, 0},
      {call_queue, "", 0, NULL, -ENOMEM},
      {call_queue, "s:close()", 100000, CLOSED, 1},
      {call_queue, "s:reset()", 100000, RESET, 1},
      {call_queue, "s:finish()", 100000, FINISHED, 1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const struct meddling *m = &cases[i];
    const char *call = m->call == call_receive ? "receive"
                       : m->call == call_write ? "write"
                                               : "queue";
    char what[64];
    snprintf(what, sizeof what, "%s, finalizer \"%s\"", call, m->finalizer);
    int peer;
    struct mb_handle *h = unix_handle(&peer);
    send_text(peer, "input");
    tap_str(error_of(m, "bytes"), m->error, "%s: the error", what);
    tap_int(result, m->result, "%s: the result", what);
    tap_int(h->io.transport == &mb_transport_none, *m->finalizer != '\0', "%s: it has ended", what);
    bool queued = m->call != call_receive && !m->error && m->result == 0;
    tap_int((long long)h->out.len, queued ? 5 : 0, "%s: bytes in the queue", what);
    close(peer);
    end_all();
  }
}

/* The system takes a part of the bytes, and there is no memory to queue the rest. */
static void half_written(void) {
  static const struct meddling cases[] = {
      {call_flush, "", 2000000, NULL, 0},
      {call_flush, "", 0, "not enough memory", 1},
      {call_flush, "s:close()", 2000000, CLOSED, 1},
      {call_flush, "s:reset()", 2000000, RESET, 1},
  };
  static char text[1000001];
  memset(text, 'x', sizeof text - 1);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int peer;
    const struct meddling *m = &cases[i];
    struct mb_handle *h = unix_handle(&peer);
    tap_str(error_of(m, text), m->error, "half of a write, finalizer \"%s\": the error",
            m->finalizer);
    tap_int(result, m->result, "half of a write: the result");
    if (m->error) {
      tap_int((long long)h->out.len, 0, "half of a write: the rest is not queued");
      tap_ok(h->out_error == ENOMEM || !mb_handle_is_open(h),
             "half of a write: no other can follow");
    } else {
      tap_ok(h->out.len > 0 && h->out.len < 1000000, "half of a write: the rest is queued");
    }
    close(peer);
    end_all();
  }
}

/* Turning a number into a string may be what makes the collector work. */
static void number_written(void) {
  static const struct {
    const char *finalizer, *error;
  } cases[] = {{"", NULL}, {"s:close()", CLOSED}, {"s:finish()", FINISHED}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int peer;
    unix_handle(&peer);
    lua_pushcfunction(L, call_write);
    lua_pushvalue(L, 1);
    lua_pushnumber(L, 0.123456789);
    add_garbage(cases[i].finalizer, 0);
    /* With the next allocation, a whole cycle is due. */
    int multiplier = lua_gc(L, LUA_GCSETSTEPMUL, 100000000);
    lua_gc(L, LUA_GCRESTART, 0);
    tap_str(error_of_call(), cases[i].error, "a number is written, finalizer \"%s\"",
            cases[i].finalizer);
    lua_gc(L, LUA_GCSETSTEPMUL, multiplier);
    close(peer);
    end_all();
  }
}

/* ---- another descriptor, or none ---- */

/* Starts to connect to a port of 127.0.0.1. */
static struct mb_handle *connecting(uint16_t port) {
  struct addrinfo *list;
  char text[8];
  snprintf(text, sizeof text, "%u", port);
  if (mb_resolve("127.0.0.1", text, false, &list) != 0) tap_bail("mb_resolve of a literal");
  struct mb_attempt *attempt = mb_attempt_new(&state.alloc, text);
  mb_attempt_set_addresses(attempt, list);
  int fd = mb_attempt_start(attempt);
  if (fd < 0) tap_bail("mb_attempt_start");
  struct mb_handle *h = new_handle(fd, fd, MB_FD_TCP);
  h->attempt = attempt;
  return h;
}

static void replaced(void) {
  int peer, pair[2];
  struct mb_handle *h = tcp_handle(&peer);
  int old = mb_handle_fd(h);
  send_text(peer, "first");
  mb_fd_poll(old, POLLIN, mb_now_usec() + NEVER_USEC);
  mb_handle_receive(L, h, 100, false);
  queue_text(h, "queued");
  mb_handle_set_nodelay(h);
  h->in_error = h->out_error = EIO;
  h->in_eof = true;
  h->local.len = h->remote.len = 1;
  peers_tcp(pair);
  mb_handle_replace(h, pair[0]);
  tap_ok(is_open(old) && !resets_on_close(old), "the old socket is open, for a healthy close");
  tap_int(mb_handle_fd(h), pair[0], "the handle has the new one");
  tap_ok(h->state == MB_HANDLE_OPEN && mb_handle_is_tcp(h), "and is open");
  tap_ok(!h->in_error && !h->out_error && !h->in_eof, "what befell the old one is forgotten");
  tap_ok(h->local.len == 0 && h->remote.len == 0, "so are its addresses");
  tap_bytes(mb_buf_bytes(&h->in), mb_buf_len(&h->in), "first", 5, "its bytes stay");
  tap_int(mb_handle_send_queue(h, true), 0, "the queue is sent");
  mb_handle_set_nodelay(h);
  int nodelay = 0;
  socklen_t len = sizeof nodelay;
  getsockopt(pair[0], IPPROTO_TCP, TCP_NODELAY, &nodelay, &len);
  tap_ok(nodelay, "TCP_NODELAY can be set on the new one");
  close(old);
  tap_str(rest_of(peer), "", "the old one's peer sees a healthy end");
  mb_handle_close(h);
  tap_str(rest_of(pair[1]), "queued", "the new one's peer gets the queue");
  close(peer);
  close(pair[1]);

  h = tcp_handle(&peer);
  old = mb_handle_fd(h);
  mb_handle_replace(h, -1);
  tap_ok(h->state == MB_HANDLE_CLOSED && mb_handle_fd(h) == -1, "without a new one it is closed");
  tap_ok(is_open(old) && !resets_on_close(old), "the old one is not");
  tap_ok(h->io.transport == &mb_transport_none, "no transport is left");
  peers_unix(pair);
  mb_handle_replace(h, pair[0]);
  tap_int(mb_handle_send_now(h, "text", 4, 0, true), 4, "a closed handle gets a new one as well");
  tap_int(h->io.kind, MB_FD_LOCAL, "of another kind");
  close(old);
  close(peer);
  close(pair[1]);
  end_all();
}

/* The attempt belongs to the old socket: it must not go on with the new one. */
static void replaced_while_connecting(void) {
  int pair[2];
  struct mb_handle *h = connecting(peers_free_port());
  int old = mb_handle_fd(h);
  peers_unix(pair);
  mb_handle_replace(h, pair[0]);
  tap_ok(h->attempt == NULL, "the attempt of the old socket is over");
  send_text(pair[1], "new");
  tap_int(mb_handle_receive(L, h, 100, false), 3, "the new one is read from");
  h = connecting(peers_free_port());
  int other = mb_handle_fd(h);
  mb_handle_replace(h, -1);
  tap_ok(h->attempt == NULL, "without a new one it is over as well");
  close(old);
  close(other);
  close(pair[1]);
  end_all();
}

/* Time runs out in a process whose guarded handle has got another socket: only the new one is reset. */
static void replaced_under_guard(void) {
  int peer, pair[2];
  struct mb_handle *h = tcp_handle(&peer);
  peers_tcp(pair);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    mb_log_set_level(-1);
    mb_handle_guard(h);
    mb_handle_replace(h, pair[0]);
    mb_timeout_limit(0.01);
    mb_fd_poll_all(NULL, 0, mb_now_usec() + NEVER_USEC);
    _exit(0);
  }
  int status, old = mb_handle_detach(h);
  close(old);
  tap_str(rest_of(pair[1]), "reset", "the alarm resets the new socket, which others hold open");
  waitpid(child, &status, 0);
  tap_ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM, "the process dies by it");
  tap_str(rest_of(peer), "", "the old one has a healthy end");
  close(peer);
  close(pair[0]);
  close(pair[1]);
  end_all();
}

static void detached(void) {
  int peer, fds[2];
  struct mb_handle *h = tcp_handle(&peer);
  int fd = mb_handle_fd(h);
  h->record_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
  int record = h->record_fd;
  tap_ok(resets_on_close(fd), "a process that dies resets the connection");
  send_text(peer, "x");
  mb_fd_poll(fd, POLLIN, mb_now_usec() + NEVER_USEC);
  mb_handle_receive(L, h, 100, false);
  tap_int(mb_handle_detach(h), -EEXIST, "input that nobody has read keeps it");
  mb_buf_take(&h->in, 1);
  queue_text(h, "queued");
  tap_int(mb_handle_detach(h), -EAGAIN, "so does output that is queued");
  tap_ok(h->state == MB_HANDLE_OPEN && resets_on_close(fd), "it is as it was");
  mb_handle_send_queue(h, true);
  tap_int(mb_handle_detach(h), fd, "it is given away");
  tap_ok(is_open(fd) && !resets_on_close(fd), "a process that dies from then on ends it");
  tap_ok(h->state == MB_HANDLE_CLOSED && mb_handle_fd(h) == -1, "the handle is closed");
  tap_ok(h->io.transport == &mb_transport_none, "no transport is left");
  tap_ok(!is_open(record), "nothing is recorded any more");
  close(fd);
  tap_str(rest_of(peer), "queued", "the peer sees a healthy end");
  close(peer);

  h = connecting(peers_free_port());
  tap_int(mb_handle_detach(h), -EAGAIN, "a handle without a connection yet");
  tap_ok(mb_handle_is_open(h), "stays as it was");
  if (pipe(fds) != 0) tap_bail("pipe");
  h = new_handle(fds[0], fds[1], MB_FD_FILE);
  tap_int(mb_handle_detach(h), -ENOTSOCK, "a replay cannot be given away");
  tap_ok(is_open(fds[0]) && is_open(fds[1]), "and stays open");
  end_all();
}

/* ---- the end ---- */

enum progress { STARTED, READY, READING };

/* Lets go of the handle's descriptor, waits a little, and reads until the end. */
static void read_late(int fd, int peer, volatile enum progress *progress) {
  static char bytes[65536];
  ssize_t n;
  close(fd);
  *progress = READY;
  mb_fd_poll_all(NULL, 0, mb_now_usec() + 100000);
  *progress = READING;
  while ((n = read(peer, bytes, sizeof bytes)) > 0) continue;
  _exit(n == 0 ? 0 : 1);
}

static void lingering(void) {
  static char block[200000];
  static const struct linger linger = {1, 10};
  int peer, status = -1;
  volatile enum progress *progress =
      mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  struct mb_handle *h = tcp_handle(&peer);
  while (mb_handle_send_now(h, block, sizeof block, 0, false) > 0) continue;
  tap_ok(mb_handle_unsent(h) > 0, "the system holds bytes that the peer has not taken");
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) read_late(mb_handle_fd(h), peer, progress);
  close(peer);
  while (*progress == STARTED) mb_fd_poll_all(NULL, 0, mb_now_usec() + 1000);
  mb_handle_close_lingering(h, &linger);
  tap_int(*progress, READING, "a lingering close waits for the peer");
  tap_ok(h->state == MB_HANDLE_CLOSED, "the handle is closed");
  waitpid(child, &status, 0);
  tap_int(status, 0, "the peer gets everything, and a healthy end");
  munmap((void *)progress, sizeof *progress);

  /* Without a descriptor for the copy it closes as usual. */
  h = tcp_handle(&peer);
  queue_text(h, "queued");
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = 3, .rlim_max = limit.rlim_max});
  mb_handle_close_lingering(h, &linger);
  setrlimit(RLIMIT_NOFILE, &limit);
  tap_ok(h->state == MB_HANDLE_CLOSED, "no descriptor for a lingering close: closed");
  tap_str(rest_of(peer), "queued", "what was queued is sent");
  close(peer);
  end_all();
}

/* Ends a handle, and returns what the process has logged meanwhile. */
static const char *logged_at_end(struct mb_handle *h, bool healthy) {
  static char text[200];
  fflush(stdout);
  int log = memfd_create("log", MFD_CLOEXEC), before = dup(2);
  dup2(log, 2);
  mb_log_set_level(LOG_INFO);
  mb_handle_end(h, healthy);
  mb_log_set_level(LOG_NOTICE);
  dup2(before, 2);
  close(before);
  ssize_t n = pread(log, text, sizeof text - 1, 0);
  text[n < 0 ? 0 : n] = '\0';
  close(log);
  return text;
}

static void ended(void) {
  int peer, in[2], out[2];
  struct mb_handle *h = tcp_handle(&peer);
  queue_text(h, "queued");
  tap_str(logged_at_end(h, true), "", "a healthy end is not logged");
  tap_str(rest_of(peer), "queued", "the queue is sent");
  tap_ok(h->state == MB_HANDLE_CLOSED, "the handle is closed");
  tap_str(logged_at_end(h, false), "", "a handle that is closed has no other end");
  tap_ok(h->state == MB_HANDLE_CLOSED, "it stays closed, and is not reset");
  tap_int(mb_handle_send_now(h, "x", 1, 0, true), -EBADF, "a closed handle sends nothing");
  tap_int(mb_handle_unsent(h), -EBADF, "and knows of nothing sent");
  close(peer);

  h = tcp_handle(&peer);
  queue_text(h, "queued");
  tap_str(logged_at_end(h, false), "", "neither is a reset");
  tap_str(rest_of(peer), "reset", "the peer sees it");
  tap_ok(h->state == MB_HANDLE_RESET && h->out.len == 0, "the queue is dropped");
  close(peer);

  h = unix_handle(&peer);
  queue_text(h, "queued");
  close(peer);
  tap_str(logged_at_end(h, true),
          "mb-handle: the client has gone before everything was sent: Broken pipe\n",
          "a client that has gone");
  tap_ok(h->state == MB_HANDLE_CLOSED, "the handle is closed");

  if (pipe(in) != 0 || pipe(out) != 0) tap_bail("pipe");
  h = new_handle(in[0], out[1], MB_FD_FILE);
  queue_text(h, "queued");
  close(out[0]);
  tap_str(logged_at_end(h, true), "", "the reader of a replay is no client");
  tap_int(h->out_error, EPIPE, "whoever runs the replay looks at its error");
  close(in[1]);
  end_all();
}

static void output_ended(void) {
  int peer, in[2], out[2];
  char byte;
  struct mb_handle *h = unix_handle(&peer);
  tap_int(mb_handle_end_output(h), 0, "the output of a Unix socket ends");
  tap_int(recv(peer, &byte, 1, MSG_DONTWAIT), 0, "the peer sees it");
  send_text(peer, "input");
  tap_int(mb_handle_receive(L, h, 100, false), 5, "input goes on");
  tap_ok(h->state == MB_HANDLE_FINISHED, "the handle is finished");
  tap_int(mb_handle_end_output(h), 0, "a second time does nothing");
  send_text(peer, "more");
  tap_int(mb_handle_end_input(h), 0, "the input ends");
  tap_int(mb_handle_receive(L, h, 100, false), 4, "what has come can be read");
  tap_int(mb_handle_receive(L, h, 100, false), 0, "and then the end");
  close(peer);

  h = tcp_handle(&peer);
  peers_reset(peer);
  mb_fd_poll(mb_handle_fd(h), POLLIN, mb_now_usec() + NEVER_USEC);
  tap_int(mb_handle_end_output(h), -ECONNRESET, "the output of a connection that was reset");
  tap_int(h->out_error, ECONNRESET, "the error stays");
  tap_ok(h->state == MB_HANDLE_OPEN, "the handle stays open");

  if (pipe(in) != 0 || pipe(out) != 0) tap_bail("pipe");
  h = new_handle(in[0], out[1], MB_FD_FILE);
  tap_int(mb_handle_end_output(h), 0, "the output of a replay");
  tap_int(mb_handle_end_input(h), 0, "its input");
  tap_ok(h->state == MB_HANDLE_OPEN, "do not end so");
  close(in[1]);
  close(out[0]);
  end_all();
}

int main(void) {
  L = new_lua_state(&state);
  finalizers();
  half_written();
  number_written();
  replaced();
  replaced_while_connecting();
  replaced_under_guard();
  detached();
  lingering();
  ended();
  output_ended();
  lua_close(L);
  tap_int((long long)state.alloc.used, 0, "no memory is left over");
  return tap_done();
}
