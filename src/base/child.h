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
 * Our own 0, 1 and 2 must be open: what is to be the child's stands on others then.
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

/* Whether it has ended, so that waiting would take no time. */
bool mb_child_has_ended(const struct mb_child *child);

/*
 * From now on the end of a child interrupts system calls: see mb_child_take_signal. Can be called
 * again, should somebody else have taken the signal away.
 */
void mb_child_catch_signal(void);

/* Nobody will wait: the child goes on, and is reaped when it ends. Its pipes are not ours. */
void mb_child_abandon(struct mb_child *child);

/*
 * Whether a child has ended since this was asked last: what has interrupted a system call may be
 * that, which is none of the script's business.
 */
bool mb_child_take_signal(void);

#endif
