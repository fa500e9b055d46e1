/* The ends of the processes of a pool. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/pool.h"
#include "base/log.h"
#include "base/rare.h"

enum mb_pool_ended mb_pool_child_ended(pid_t pid, int status, enum mb_child_state state,
                                       uint64_t served) {
  bool unprepared = state == MB_CHILD_STARTING;
  if (WIFEXITED(status)) {
    if (!unprepared) return MB_POOL_DONE;
    /* What prepare throws is logged already, but not what it means. */
    mb_log(LOG_WARNING,
           "pool: process %d ended within prepare, with status %d: another one is tried after "
           "fork_error_delay",
           (int)pid, WEXITSTATUS(status));
    return MB_POOL_UNPREPARED;
  }
  int number = WTERMSIG(status);
  /* timeout() has logged its end itself. */
  if (number != SIGALRM)
    mb_log(LOG_WARNING, "pool: process %d was ended by signal %d (%s)%s%s", (int)pid, number,
           MB_RARE(strsignal)(number), WCOREDUMP(status) ? ", core dumped" : "",
           unprepared                              ? " within prepare"
           : state == MB_CHILD_BUSY                ? " while it served a connection"
           : served == 0 && state != MB_CHILD_IDLE ? " before its first connection"
                                                   : "");
  return unprepared ? MB_POOL_UNPREPARED : MB_POOL_LOST;
}

enum mb_exit mb_pool_load_ended(int status, bool is_ending) {
  enum mb_exit exit = WIFEXITED(status) ? (enum mb_exit)WEXITSTATUS(status) : MB_EXIT_SYSTEM;
  if (WIFSIGNALED(status) && !is_ending)
    mb_log(LOG_ERR, "pool: the process that loaded the script was ended by signal %d (%s)",
           WTERMSIG(status), MB_RARE(strsignal)(WTERMSIG(status)));
  /* Every other end is one that has been logged. */
  if (WIFEXITED(status) && (exit == MB_EXIT_OK || exit < MB_EXIT_USAGE || exit > MB_EXIT_CONFIG))
    mb_log(LOG_ERR,
           "pool: the script has ended the process that loads it, with status %d (os.exit)",
           (int)exit);
  return exit;
}

void mb_pool_generation_ended(pid_t pid, int status) {
  if (WIFSIGNALED(status)) {
    mb_log(LOG_ERR,
           "pool: process %d, which makes the others, was ended by signal %d (%s); it is "
           "started again, and running connections go on",
           (int)pid, WTERMSIG(status), MB_RARE(strsignal)(WTERMSIG(status)));
  } else {
    mb_log(LOG_ERR,
           "pool: process %d, which makes the others, ended with status %d; it is started again",
           (int)pid, WEXITSTATUS(status));
  }
}

void mb_pool_leave(enum mb_exit exit) {
#if defined(__SANITIZE_ADDRESS__) || defined(MB_GCOV)
  (void)exit;
#else
  fflush(NULL);
  _exit((int)exit);
#endif
}
