/*
 * src/base/connect.c and src/base/listener.c: names and literals, one address after the other, undecided
 * attempts, and listeners that are replaced.
 */
#include "base/connect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/listener.h"
#include "../../lib/tap.h"

static struct mb_alloc alloc;

/* Makes a list of addresses, of literals with one port each, as getaddrinfo does. */
static struct addrinfo *addresses(int count, const char *const hosts[], const int ports[]) {
  struct addrinfo *list = NULL, **end = &list;
  for (int i = 0; i < count; i++) {
    char port[8];
    snprintf(port, sizeof port, "%d", ports[i]);
    if (mb_resolve(hosts[i], port, false, end) != 0) tap_bail("mb_resolve of a literal");
    end = &(*end)->ai_next;
  }
  return list;
}

static int port_of(int fd) {
  struct mb_addr addr = {.len = sizeof addr.storage};
  getsockname(fd, &addr.any, &addr.len);
  return mb_addr_port(&addr);
}

static int listen_at(const char *host) {
  struct addrinfo *list;
  if (mb_resolve(host, "0", true, &list) != 0) tap_bail("mb_resolve to listen");
  int fd = mb_listener_tcp(list, NULL);
  freeaddrinfo(list);
  if (fd < 0) tap_bail("mb_listener_tcp");
  return fd;
}

/* Returns a port at which nobody listens. */
static int free_port(void) {
  int fd = listen_at("127.0.0.1");
  int port = port_of(fd);
  close(fd);
  return port;
}

static int count_descriptors(void) {
  int count = 0;
  for (int fd = 0; fd < 200; fd++) count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

static void resolving(void) {
  static const struct {
    const char *host, *port;
    int code;
  } cases[] = {
      {"127.0.0.1", "80", 0},
      {"::1", "80", 0},
      {"localhost", "80", 0},
      {"127.0.0.1", "http", 0},
      {"localhost", "http", 0},
      {"127.0.0.1", "nosuchservice", EAI_SERVICE},
      {"", "80", EAI_NONAME},
      {"[::1]", "80", EAI_NONAME},
      {"no such host", "80", EAI_NONAME},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct addrinfo *list = NULL;
    int code = mb_resolve(cases[i].host, cases[i].port, false, &list);
    /* When no name server can be reached, the lookup of a name that is not local fails for now. */
    if (code == EAI_AGAIN && cases[i].code == EAI_NONAME) code = EAI_NONAME;
    tap_int(code, cases[i].code, "\"%s\" port %s", cases[i].host, cases[i].port);
    if (code != 0) continue;
    struct mb_addr addr = {.len = list->ai_addrlen};
    memcpy(&addr.any, list->ai_addr, list->ai_addrlen);
    tap_int(mb_addr_port(&addr), 80, "its port");
    freeaddrinfo(list);
  }
}

/* No name has a "%": these are not looked up, and fail at once, whatever the name servers do. */
static void scopes(void) {
  static const struct {
    const char *host;
    int code, number;
  } cases[] = {
      {"fe80::1%lo", 0, 0},
      {"fe80::1%1", 0, 0},
      {"fe80::1%mb-none", EAI_SYSTEM, ENODEV},
      {"127.0.0.1%lo", EAI_NONAME, 0},
      {"::1%1", EAI_NONAME, 0},
      {"::ffff:127.0.0.1%lo", EAI_NONAME, 0},
      {"fe80::1%", EAI_NONAME, 0},
      {"localhost%lo", EAI_NONAME, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct addrinfo *list = NULL;
    int code = mb_resolve(cases[i].host, "80", true, &list);
    int number = errno;
    tap_int(code, cases[i].code, "\"%s\"", cases[i].host);
    if (code == EAI_SYSTEM) tap_int(number, cases[i].number, "its errno");
    if (code != 0) continue;
    struct mb_addr addr = {.len = list->ai_addrlen};
    memcpy(&addr.any, list->ai_addr, list->ai_addrlen);
    tap_int(mb_addr_scope(&addr), 1, "its scope");
    freeaddrinfo(list);
  }
  struct rlimit limit;
  struct addrinfo *list;
  getrlimit(RLIMIT_NOFILE, &limit);
  setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = 3, .rlim_max = limit.rlim_max});
  int code = mb_resolve("fe80::1%lo", "80", true, &list);
  int number = errno;
  setrlimit(RLIMIT_NOFILE, &limit);
  tap_int(code, EAI_SYSTEM, "an interface cannot be looked for without descriptors");
  tap_int(number, EMFILE, "its errno");
}

static struct mb_attempt *attempt_for(int count, const char *const hosts[], const int ports[]) {
  struct mb_attempt *a = mb_attempt_new(&alloc, "name:port");
  if (!a) tap_bail("mb_attempt_new");
  mb_attempt_set_addresses(a, addresses(count, hosts, ports));
  return a;
}

/* The first addresses refuse, and the last one takes the connection. */
static void one_after_the_other(bool wait) {
  const char *how = wait ? "waiting" : "not waiting";
  int listener = listen_at("127.0.0.1");
  const char *const hosts[] = {"127.0.0.1", "::1", "127.0.0.1"};
  const int ports[] = {free_port(), free_port(), port_of(listener)};
  int before = count_descriptors();
  struct mb_attempt *a = attempt_for(3, hosts, ports);
  struct mb_addr local, remote;
  int fd = mb_attempt_start(a);
  tap_ok(fd >= 0, "%s: an attempt starts", how);
  tap_ok(fcntl(fd, F_GETFD) & FD_CLOEXEC, "%s: close-on-exec", how);
  /* No other descriptor is free: the attempt at the next address has to use this one again. */
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  const struct rlimit no_more = {.rlim_cur = (rlim_t)fd + 1, .rlim_max = limit.rlim_max};
  setrlimit(RLIMIT_NOFILE, &no_more);
  int r;
  while ((r = mb_attempt_go_on(a, &fd, wait, &local, &remote)) == -EAGAIN) {
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    if (wait || poll(&p, 1, 10000) != 1) break;
  }
  tap_int(r, 0, "%s: the last address takes it", how);
  setrlimit(RLIMIT_NOFILE, &limit);
  tap_int(mb_addr_port(&remote), ports[2], "%s: the peer's port", how);
  tap_int(mb_addr_port(&local), port_of(fd), "%s: our port", how);
  tap_ok(fcntl(fd, F_GETFD) & FD_CLOEXEC, "%s: close-on-exec still", how);
  tap_ok(!(fcntl(fd, F_GETFL) & O_NONBLOCK), "%s: blocking from now on", how);
  tap_int(mb_listener_accept(listener, true, &remote) >= 0, 1, "%s: accepted", how);
  close(listener);
  close(fd);
  mb_attempt_free(a, &alloc);
  /* There is one more, for the accepted connection, and one less, as the listener is closed. */
  tap_int(count_descriptors(), before, "%s: no descriptor is left over", how);
}

static void all_refuse(void) {
  const char *const hosts[] = {"::1", "127.0.0.1"};
  const int ports[] = {free_port(), free_port()};
  char text[MB_ATTEMPT_TEXT_MAX], want[64];
  struct mb_addr local = {.len = 77}, remote = {.len = 77};
  struct mb_attempt *a = attempt_for(2, hosts, ports);
  int fd = mb_attempt_start(a);
  tap_int(mb_attempt_go_on(a, &fd, true, &local, &remote), -ECONNREFUSED, "all refuse");
  tap_ok(local.len == 77 && remote.len == 77, "the outputs are as they were");
  mb_attempt_describe(a, text);
  snprintf(want, sizeof want, "name:port (127.0.0.1:%d)", ports[1]);
  tap_str(text, want, "the last one is named");
  close(fd);
  mb_attempt_free(a, &alloc);
}

/* A listener whose queue is full does not answer, so the attempt stays undecided. */
static void undecided(void) {
  int listener = listen_at("127.0.0.1");
  listen(listener, 0);
  const char *const hosts[] = {"127.0.0.1"};
  const int ports[] = {port_of(listener)};
  struct mb_addr local, remote;
  struct mb_attempt *attempts[16];
  int fds[16], count = 0, r = 0;
  while (r == 0 && count < 16) {
    struct mb_attempt *a = attempts[count] = attempt_for(1, hosts, ports);
    int fd = fds[count] = mb_attempt_start(a);
    count++;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    poll(&p, 1, 200); /* on loopback an answer comes at once, or not at all */
    r = mb_attempt_go_on(a, &fd, false, &local, &remote);
  }
  tap_int(r, -EAGAIN, "undecided while the listener's queue is full");
  for (int i = 0; i < count; i++) {
    close(fds[i]);
    mb_attempt_free(attempts[i], &alloc);
  }
  close(listener);
}

/* Nobody listens at a port from which we connect to the same port: TCP would make that connection. */
static void to_itself(void) {
  const char *const hosts[] = {"127.0.0.1"};
  const int ports[] = {free_port()};
  struct mb_addr local, remote;
  struct mb_attempt *a = attempt_for(1, hosts, ports);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(fd, a->at->ai_addr, a->at->ai_addrlen) != 0 ||
      connect(fd, a->at->ai_addr, a->at->ai_addrlen) != 0)
    tap_bail("connecting to itself");
  tap_int(mb_attempt_go_on(a, &fd, true, &local, &remote), -ECONNREFUSED,
          "a connection to itself is a refusal");
  close(fd);
  mb_attempt_free(a, &alloc);
}

static void listeners(void) {
  struct addrinfo *list;
  char port[8];
  int first = listen_at("127.0.0.1");
  struct mb_addr remote;
  tap_int(mb_listener_accept(first, false, &remote), -EAGAIN, "nobody to accept");
  snprintf(port, sizeof port, "%d", port_of(first));
  mb_resolve("127.0.0.1", port, true, &list);
  tap_int(mb_listener_tcp(list, NULL), -EADDRINUSE, "a port that is taken");
  freeaddrinfo(list);
  close(first);
}

static void local_sockets(void) {
  char dir[] = "/tmp/mb-unit-XXXXXX", path[64];
  struct mb_addr addr, remote;
  struct stat st;
  if (!mkdtemp(dir)) tap_bail("mkdtemp");
  snprintf(path, sizeof path, "%s/s", dir);
  tap_int(mb_addr_from_path(path, &addr), 0, "a path");
  tap_int(mb_connect_local(&addr, true), -ENOENT, "nothing there");
  int first = mb_listener_local(&addr, NULL);
  int second = mb_listener_local(&addr, NULL);
  tap_ok(first >= 0 && second >= 0, "a socket file is replaced");
  close(first);
  int fd = mb_connect_local(&addr, false);
  tap_ok(fd >= 0 && !(fcntl(fd, F_GETFL) & O_NONBLOCK), "connected, and blocking");
  int accepted = mb_listener_accept(second, false, &remote);
  tap_ok(accepted >= 0, "accepted by the second one");
  close(accepted);
  close(fd);
  close(second);
  tap_int(mb_connect_local(&addr, true), -ECONNREFUSED, "nobody listens any more");
  unlink(path);
  static int (*const makers[])(const char *, mode_t) = {creat, mkdir, mkfifo};
  for (size_t i = 0; i < 3; i++) {
    int made = makers[i](path, 0700);
    tap_int(mb_listener_local(&addr, NULL), -EEXIST, "another kind of file is in the way");
    tap_int(lstat(path, &st), 0, "and stays");
    if (i == 0) close(made);
    remove(path);
  }
  if (symlink("elsewhere", path) != 0) tap_bail("symlink");
  tap_int(mb_listener_local(&addr, NULL), -EEXIST, "a symlink is in the way");
  unlink(path);
  rmdir(dir);
  tap_int(mb_listener_local(&addr, NULL), -ENOENT, "no such directory");
}

int main(void) {
  resolving();
  scopes();
  one_after_the_other(true);
  one_after_the_other(false);
  all_refuse();
  undecided();
  to_itself();
  listeners();
  local_sockets();
  tap_int((long long)alloc.used, 0, "no memory is left over");
  return tap_done();
}
