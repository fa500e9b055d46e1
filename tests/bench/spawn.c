/*
 * Times how programs start, in turn:
 * spawn ROUNDS INPUT EXPECTED PROGRAM ARG... [-- EXPECTED PROGRAM ARG...]...
 * INPUT is stdin; EXPECTED is the text that must come out on stdout. Prints one line for each round:
 * nanoseconds from posix_spawn to the end, for each program. The output is read after the end, from a pipe
 * that holds all of it, so that reading is not timed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROGRAMS_MAX 16
#define OUTPUT_MAX   65536 /* a pipe holds that much */

extern char **environ;

struct program {
  const char *expected;
  char **argv;
};

static int output[2];

static void fail(const char *what) {
  fprintf(stderr, "spawn: %s: %s\n", what, strerror(errno));
  exit(1);
}

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

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

static long long run(const struct program *p, const posix_spawn_file_actions_t *actions) {
  pid_t pid;
  int status;
  long long begin = now();
  errno = posix_spawn(&pid, p->argv[0], actions, NULL, p->argv, environ);
  if (errno) fail(p->argv[0]);
  if (waitpid(pid, &status, 0) < 0) fail("waitpid");
  long long end = now();
  char text[OUTPUT_MAX];
  ssize_t len = read(output[0], text, sizeof text);
  if (len < 0) len = 0;
  if (status != 0 || (size_t)len != strlen(p->expected) ||
      memcmp(text, p->expected, (size_t)len) != 0) {
    fprintf(stderr, "spawn: %s: wait status %d, wrong output: \"%.*s\"\n", p->argv[0], status,
            (int)len, text);
    exit(1);
  }
  return end - begin;
}

int main(int argc, char **argv) {
  if (argc < 5) return 2;
  struct program programs[PROGRAMS_MAX];
  int rounds = atoi(argv[1]);
  int n = parse(argv + 3, programs);
  if (pipe2(output, O_NONBLOCK | O_CLOEXEC) != 0) fail("pipe");
  /* The end of the pipe that a program gets does block, as usual. */
  fcntl(output[1], F_SETFL, 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, argv[2], O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output[1], 1);
  for (int i = -10; i < rounds; i++) { /* the first few warm up */
    for (int p = 0; p < n; p++) {
      long long ns = run(&programs[p], &actions);
      if (i >= 0) printf("%lld%c", ns, p + 1 < n ? ' ' : '\n');
    }
  }
  return 0;
}
