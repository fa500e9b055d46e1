/*
 * Times how programs start on a TCP connection on which a request has come already:
 * httpstart ROUNDS EXPECTED PROGRAM ARG... [-- EXPECTED PROGRAM ARG...]...
 * EXPECTED is the answer: "nothing", "echo" (the request) or "page" (a response that says hello). Prints
 * one line for each round, with two numbers for each program, in the order of the arguments: the nanoseconds
 * from posix_spawn to the end, and those of the processor. The program that ran before makes a difference, so
 * each round runs them in another order. The answer is read after the end, so that reading is not timed.
 */
#include "httpbench.h"

#include <sys/resource.h>

#define PROGRAMS_MAX 16
#define WARM_UP      20 /* rounds */
#define REQUEST \
  "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: httpstart\r\nConnection: close\r\n\r\n"

struct program {
  const char *expected;
  char **argv;
};

static int listener;

static int parse(char **argv, struct program *programs) {
  int n = 0;
  while (*argv && n < PROGRAMS_MAX) {
    programs[n].expected = *argv++;
    programs[n++].argv = argv;
    while (*argv && strcmp(*argv, "--") != 0) argv++;
    if (*argv) *argv++ = NULL;
  }
  return n;
}

/* Returns whether the answer is the right response. The date may be any. */
static int is_page(const char *text) {
  const char *body = strstr(text, "\r\n\r\n");
  return strncmp(text, "HTTP/1.1 200 OK\r\n", 17) == 0 && strstr(text, "\r\nDate: ") && body &&
         strcmp(body + 4, "hello\n") == 0;
}

static void check(const struct program *p, int fd) {
  char text[4096];
  size_t len = 0;
  ssize_t n;
  while (len < sizeof text - 1 && (n = read(fd, text + len, sizeof text - 1 - len)) > 0)
    len += (size_t)n;
  text[len] = '\0';
  const char *exact = strcmp(p->expected, "echo") == 0 ? REQUEST : "";
  int good = strcmp(p->expected, "page") == 0 ? is_page(text) : strcmp(text, exact) == 0;
  if (good) return;
  fprintf(stderr, "httpstart: %s: wrong answer: \"%s\"\n", p->argv[0], text);
  exit(1);
}

struct times {
  long long passed, used; /* ns: of the clock, of the processor */
};

static long long ns_of(struct timeval t) { return t.tv_sec * 1000000000LL + t.tv_usec * 1000LL; }

static struct times run(const struct program *p) {
  int ends[2], status;
  struct rusage usage;
  make_tcp(listener, ends);
  write_all(ends[0], REQUEST, sizeof REQUEST - 1);
  long long begin = now();
  pid_t pid = start(p->argv, ends[1], -1);
  if (wait4(pid, &status, 0, &usage) < 0) fail("wait4");
  long long end = now();
  if (status != 0) wrong("the program did not end with status 0");
  check(p, ends[0]);
  close(ends[0]);
  return (struct times){end - begin, ns_of(usage.ru_utime) + ns_of(usage.ru_stime)};
}

/* Makes a random order (Fisher, Yates). Any order will do, so the random numbers need not be good. */
static void shuffle(int *order, int n) {
  for (int i = n - 1; i > 0; i--) {
    int other = rand() % (i + 1), kept = order[i];
    order[i] = order[other];
    order[other] = kept;
  }
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  struct program programs[PROGRAMS_MAX];
  int rounds = atoi(argv[1]), n = parse(argv + 2, programs), order[PROGRAMS_MAX];
  struct times ns[PROGRAMS_MAX];
  alarm(SECONDS_MAX);
  listener = listen_somewhere();
  for (int i = 0; i < n; i++) order[i] = i;
  for (int round = -WARM_UP; round < rounds; round++) {
    shuffle(order, n);
    for (int i = 0; i < n; i++) ns[order[i]] = run(&programs[order[i]]);
    for (int i = 0; i < n && round >= 0; i++)
      printf("%lld %lld%c", ns[i].passed, ns[i].used, i + 1 < n ? ' ' : '\n');
  }
  return 0;
}
