/*
 * Starts a program for mbtest.Child: python's own fork copies the tables of all its memory, which takes longer than the
 * program. The child is killed when the test ends, whatever ends it.
 * Usage: launch LISTEN_FDS LISTEN_PID PROGRAM [ARGUMENT]...
 * Sets each of the two variables whose argument is not empty; "self" stands for the process id of the program.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv) {
  char self[3 * sizeof(pid_t) + 2];
  snprintf(self, sizeof self, "%ld", (long)getpid());
  if (argc < 4) return 127;
  if (*argv[1] && setenv("LISTEN_FDS", argv[1], 1)) return 127;
  if (*argv[2] && setenv("LISTEN_PID", strcmp(argv[2], "self") == 0 ? self : argv[2], 1))
    return 127;
  if (prctl(PR_SET_PDEATHSIG, SIGKILL)) return 127;
  execv(argv[3], argv + 3);
  return 127;
}
