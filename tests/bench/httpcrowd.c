/*
 * The clients of a server that is measured, all in one process:
 * httpcrowd close|keep|line|end PORT CLIENTS MILLISECONDS [RATE]
 *   close: each request has a connection of its own, which lasts until the server ends it
 *   keep: each client keeps its connection
 *   line: as close, without HTTP: a line is sent, and the same line comes back
 *   end: as close, but nothing is sent and nothing comes, for a server that does nothing
 * Without RATE each client asks again as soon as it has its answer. With RATE (requests a second) the moments of the
 * requests are fixed beforehand: one that finds no client free waits, and its latency counts from its moment.
 * Every response is checked. The answers of the first WARM_UP_NS are not counted. Prints
 *   ANSWERED FAILED REPEATED SECONDS MEDIAN P99 MAX CPU
 * with latencies in microseconds, and the processor time of this program in seconds. REPEATED: requests on a kept
 * connection that the server ended before it had sent a byte of the answer. A client has to repeat these (RFC 9112,
 * 9.3.1). The first failures are named on stderr.
 */
#include "httpbench.h"

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define CLIENTS_MAX    1024
#define RESPONSE_MAX   4096
#define WARM_UP_NS     300000000LL
#define PATIENCE_NS    10000000000LL /* for one answer */
#define FAILURES_NAMED 5
#define PAGE           "hello\n"

enum kind { CLOSE, KEEP, LINE, END };
enum state { IDLE, CONNECTING, WAITING };

struct client {
  enum state state;
  int fd;            /* -1: no connection */
  bool used;         /* it has had an answer on this connection */
  long long asked;   /* the request's moment */
  long long gave_up; /* when its patience ends */
  size_t len;
  char data[RESPONSE_MAX + 1]; /* what has come of the response; a NUL at the end */
};

static struct {
  enum kind kind;
  struct sockaddr_in server;
  const char *request;
  size_t request_len;
  long long begin, end; /* what is answered between these counts */
  long long interval;   /* between two requests; 0: as fast as possible */
  long long next;       /* the moment of the next request */
  int clients;
} plan;

static struct client clients[CLIENTS_MAX];
static struct pollfd polled[CLIENTS_MAX];
static unsigned long failed, repeated;

/* ---- latencies ---- */

static float *latencies; /* microseconds */
static size_t count, room;

static void note(long long asked, long long answered) {
  if (answered < plan.begin || answered > plan.end) return;
  if (count == room) {
    room = room ? 2 * room : 65536;
    latencies = realloc(latencies, room * sizeof *latencies);
    if (!latencies) fail("realloc");
  }
  latencies[count++] = (float)(answered - asked) / 1e3f;
}

static int compare(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static double quantile(double part) {
  return count ? (double)latencies[(size_t)(part * (double)(count - 1))] : 0;
}

/* ---- one client ---- */

static void disconnect(struct client *c) {
  if (c->fd >= 0) close(c->fd);
  c->fd = -1;
  c->used = false;
}

static void fail_request(struct client *c, const char *why) {
  if (failed++ < FAILURES_NAMED)
    fprintf(stderr, "httpcrowd: failed: %s%s%s, after %zu bytes: %.60s\n", why, errno ? ": " : "",
            errno ? strerror(errno) : "", c->len, c->data);
  disconnect(c);
  c->state = IDLE;
}

static void send_request(struct client *c);

static void make_connection(struct client *c) {
  c->state = CONNECTING;
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (c->fd < 0) fail("socket");
  if (connect(c->fd, (struct sockaddr *)&plan.server, sizeof plan.server) == 0)
    send_request(c);
  else if (errno != EINPROGRESS)
    fail_request(c, "connect");
}

/* The server has ended a kept connection, maybe before it saw the request: the request is sent on another one. */
static bool repeats(struct client *c) {
  if (plan.kind != KEEP || !c->used || c->len > 0) return false;
  repeated++;
  disconnect(c);
  make_connection(c);
  return true;
}

static void send_request(struct client *c) {
  c->state = WAITING;
  c->len = 0;
  c->data[0] = '\0';
  ssize_t n = send(c->fd, plan.request, plan.request_len, MSG_NOSIGNAL);
  if (n != (ssize_t)plan.request_len && !repeats(c)) fail_request(c, "send");
}

/* Starts a request. asked: its moment, from which its latency counts. */
static void begin_request(struct client *c, long long asked) {
  c->asked = asked;
  c->gave_up = now() + PATIENCE_NS;
  c->len = 0;
  if (c->fd >= 0)
    send_request(c);
  else
    make_connection(c);
}

static void continue_connecting(struct client *c) {
  socklen_t size = sizeof errno;
  getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &errno, &size);
  if (errno)
    fail_request(c, "connect");
  else
    send_request(c);
}

/* Returns the length of the whole response; 0 when its head is not there yet. */
static size_t response_length(const struct client *c) {
  static const char field[] = "\r\nContent-Length: ";
  if (plan.kind == END) return 0;
  if (plan.kind == LINE) return c->len < sizeof PAGE - 1 ? 0 : sizeof PAGE - 1;
  const char *end = strstr(c->data, "\r\n\r\n"), *length = strcasestr(c->data, field);
  if (!end) return 0;
  if (!length || length > end) return SIZE_MAX;
  return (size_t)(end - c->data) + 4 + strtoul(length + sizeof field - 1, NULL, 10);
}

static bool is_right(const struct client *c) {
  size_t size = sizeof PAGE - 1;
  if (plan.kind == LINE || plan.kind == END) return strcmp(c->data, plan.request) == 0;
  return strncmp(c->data, "HTTP/1.1 200", 12) == 0 && c->len > size &&
         memcmp(c->data + c->len - size, PAGE, size) == 0;
}

/* The response is there. ended: so is the end of the connection. */
static void finish_request(struct client *c, bool ended) {
  errno = 0;
  if (!is_right(c)) {
    fail_request(c, "wrong response");
    return;
  }
  note(c->asked, now());
  c->state = IDLE;
  c->used = true;
  /* The server may end a kept connection after this response. */
  if (ended || (plan.kind == KEEP && strcasestr(c->data, "\r\nConnection: close"))) disconnect(c);
}

static void receive(struct client *c) {
  ssize_t n = recv(c->fd, c->data + c->len, RESPONSE_MAX - c->len, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n > 0) {
    c->len += (size_t)n;
    c->data[c->len] = '\0';
    size_t length = response_length(c);
    errno = 0;
    if (c->len == RESPONSE_MAX || (length > 0 && c->len > length))
      fail_request(c, "too long a response");
    else if (plan.kind == KEEP && length > 0 && c->len == length)
      finish_request(c, false);
    return;
  }
  if (n == 0) errno = 0;
  if (n == 0 && (c->len > 0 || plan.kind == END) && c->len == response_length(c))
    finish_request(c, true);
  else if (!repeats(c))
    fail_request(c, n == 0 ? "the connection ended" : "recv");
}

/* ---- all of them ---- */

/* Gives a request to an idle client, if there is one whose moment has come. */
static void assign(struct client *c, long long time) {
  if (time >= plan.end) return;
  if (plan.interval == 0) {
    begin_request(c, time);
  } else if (plan.next <= time) {
    begin_request(c, plan.next);
    plan.next += plan.interval;
  }
}

/* An idle connection that the server has ended takes no request. */
static void look_after_idle(struct client *c) {
  char byte;
  if (c->fd >= 0 && recv(c->fd, &byte, 1, MSG_PEEK) == 0) disconnect(c);
}

static void wait_for_events(long long time) {
  long long wait = plan.end > time ? plan.end - time : PATIENCE_NS;
  if (plan.interval > 0 && plan.next < plan.end) wait = plan.next > time ? plan.next - time : 0;
  if (wait > PATIENCE_NS / 10) wait = PATIENCE_NS / 10;
  bool idle = false;
  for (int i = 0; i < plan.clients; i++) {
    struct client *c = &clients[i];
    idle |= c->state == IDLE;
    polled[i] = (struct pollfd){.fd = c->fd, .events = c->state == CONNECTING ? POLLOUT : POLLIN};
  }
  /* A request whose moment has come needs a client that is free. */
  if (wait == 0 && !idle) wait = PATIENCE_NS / 10;
  struct timespec timeout = {.tv_sec = wait / 1000000000, .tv_nsec = wait % 1000000000};
  if (ppoll(polled, (nfds_t)plan.clients, &timeout, NULL) < 0) fail("ppoll");
}

/* Returns whether a request is still on its way. */
static bool turn(void) {
  bool busy = false;
  long long time = now();
  for (int i = 0; i < plan.clients; i++) {
    struct client *c = &clients[i];
    if (c->state == IDLE) assign(c, time);
    busy |= c->state != IDLE;
  }
  if (!busy && time >= plan.end) return false;
  wait_for_events(time);
  time = now();
  for (int i = 0; i < plan.clients; i++) {
    struct client *c = &clients[i];
    if (polled[i].revents) {
      if (c->state == IDLE)
        look_after_idle(c);
      else if (c->state == CONNECTING)
        continue_connecting(c);
      else
        receive(c);
    } else if (c->state != IDLE && time > c->gave_up) {
      errno = 0;
      fail_request(c, "no answer in time");
    }
  }
  return busy;
}

static void report(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  struct timeval u = usage.ru_utime, s = usage.ru_stime;
  double cpu = (double)(u.tv_sec + s.tv_sec) + (double)(u.tv_usec + s.tv_usec) / 1e6;
  if (count) qsort(latencies, count, sizeof *latencies, compare);
  printf("%zu %lu %lu %.6f %.1f %.1f %.1f %.3f\n", count, failed, repeated,
         (double)(plan.end - plan.begin) / 1e9, quantile(0.5), quantile(0.99), quantile(1), cpu);
}

#define GET "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: httpcrowd\r\n"

static const struct {
  const char *name, *request;
} kinds[] = {
    [CLOSE] = {"close", GET "Connection: close\r\n\r\n"},
    [KEEP] = {"keep", GET "\r\n"},
    [LINE] = {"line", PAGE},
    [END] = {"end", ""},
};

int main(int argc, char **argv) {
  if (argc < 5 || argc > 6) return 2;
  while (strcmp(argv[1], kinds[plan.kind].name) != 0)
    if (++plan.kind > END) return 2;
  plan.request = kinds[plan.kind].request;
  plan.request_len = strlen(plan.request);
  plan.server = loopback(atoi(argv[2]));
  plan.clients = atoi(argv[3]);
  long long ns = atoll(argv[4]) * 1000000;
  double rate = argc == 6 ? atof(argv[5]) : 0;
  if (plan.clients < 1 || plan.clients > CLIENTS_MAX || ns <= 0 || rate < 0) return 2;
  if (rate > 0) plan.interval = (long long)(1e9 / rate);
  alarm(SECONDS_MAX);
  prctl(PR_SET_TIMERSLACK, 1); /* nanosecond: a request begins at its moment */
  for (int i = 0; i < plan.clients; i++) clients[i].fd = -1;
  plan.next = now();
  plan.begin = plan.next + WARM_UP_NS;
  plan.end = plan.begin + ns;
  while (turn() || now() < plan.end) continue;
  report();
  return 0;
}
