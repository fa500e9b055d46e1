/*
 * Child processes: started with pipes on their standard descriptors, waited for, and reaped even
 * when nobody waits.
 */
#ifndef MB_CHILD_H
#define MB_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

struct mb_child; /* one that has not been reaped */

/* Our ends of the pipes to 0, 1 and 2 of the child; with O_NONBLOCK and close-on-exec. */
struct mb_child_pipes {
  int fd[3];
};

/*
 * Starts a program, which is searched in $PATH. It has the default action for all signals, none is
 * blocked, and no descriptors but 0, 1 and 2.
 * argv  its arguments, the first its name; ends with NULL
 * Returns 0, or -errno; when the program cannot be executed, no process is left.
 */
int mb_child_start(const char *const argv[], struct mb_child_pipes *ret_pipes,
                   struct mb_child **ret);

pid_t mb_child_pid(const struct mb_child *child);

/*
 * Reaps the child.
 * wait  false: -EAGAIN while it runs
 * ret_result  its exit status, or the negative number of the signal that has ended it
 * Returns 0, when the child is freed, or -errno; -ECHILD when somebody else has reaped it.
 */
int mb_child_wait(struct mb_child *child, bool wait, int *ret_result);

/* Sends a signal. Returns 0 or -errno. */
int mb_child_kill(const struct mb_child *child, int signal_number);

/*
 * A descriptor, the child's for as long as there is the child, that poll(2) finds readable when it
 * has ended. Or -errno.
 */
int mb_child_pollable(struct mb_child *child);

/* Nobody will wait: the child goes on, and is reaped when it ends. */
void mb_child_abandon(struct mb_child *child);

/*
 * Whether a child that was abandoned has ended since this was asked last: the signal that has
 * interrupted a system call may be ours, and is none of the script's business.
 */
bool mb_child_has_reaped(void);

#endif
