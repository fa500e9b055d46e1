/*
 * Child processes. They have pipes on their standard descriptors, and are reaped even when nobody
 * waits for them.
 */
#ifndef MB_CHILD_H
#define MB_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

struct mb_child; /* a child that has not been reaped */

/* Our ends of the pipes to 0, 1 and 2 of the child. They have O_NONBLOCK and close-on-exec. */
struct mb_child_pipes {
  int fd[3];
};

/*
 * Starts a program, which is looked for in $PATH. The program has the default action for all signals,
 * no signal blocked, and no descriptors except 0, 1 and 2.
 * argv  its arguments, its name first, NULL at the end
 * ends_with_us  the program gets a process group of its own, which ends (SIGTERM, and SIGKILL after a
 *       second) with our process, whatever ends that; or once the program's end was waited for
 * Our own 0, 1 and 2 must be open, so that no pipe gets one of these numbers.
 * Returns 0, or -errno. When the program cannot be executed, no process is left.
 */
int mb_child_start(const char *const argv[], bool ends_with_us, struct mb_child_pipes *ret_pipes,
                   struct mb_child **ret);

pid_t mb_child_pid(const struct mb_child *child);

/*
 * Reaps the child.
 * wait  false: returns -EAGAIN while the child runs
 * ret_result  its exit status, or the negative number of the signal that has ended it
 * Returns 0 and frees the child, or returns -errno; -ECHILD when somebody else has reaped it.
 */
int mb_child_wait(struct mb_child *child, bool wait, int *ret_result);

/* Sends a signal. Returns 0 or -errno. */
int mb_child_kill(const struct mb_child *child, int signal_number);

/* Returns whether the child has ended, so that waiting for it would take no time. */
bool mb_child_has_ended(const struct mb_child *child);

/*
 * Catches SIGCHLD. From now on the end of a child interrupts system calls: see mb_child_take_signal.
 * May be called again, in case somebody else has set another handler.
 */
void mb_child_catch_signal(void);

/*
 * Gives up a child that nobody will wait for: it goes on, and is reaped when it ends. The pipes stay
 * open; the caller closes them.
 */
void mb_child_abandon(struct mb_child *child);

/* Ends the process groups of children that were given up and were to end with our process. They get SIGTERM soon. */
void mb_child_end_abandoned(void);

/*
 * Returns whether a child has ended since the last call of this function. A system call may have been
 * interrupted by that; the script must not notice that.
 */
bool mb_child_take_signal(void);

#endif
