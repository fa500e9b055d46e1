/*
 * Landlock: which files, TCP ports and signals are left. A ruleset begins with nothing allowed; rules are added; then
 * the process enters it. Source: Documentation/userspace-api/landlock.rst of Linux.
 */
#ifndef MB_LANDLOCK_H
#define MB_LANDLOCK_H

#include "sandbox/sandbox.h"

/* Returns the version of Landlock that this kernel has; 0: none; -EPERM: the service manager forbids it. */
int mb_landlock_abi(void);

struct mb_landlock {
  int abi;
  int fd; /* of the ruleset */
};

/*
 * Begins a ruleset for which nothing is allowed of what the kernel knows.
 * wishes  MB_WISH_...
 * Returns 0; -ENOSYS without Landlock; -EPERM when it is forbidden; or -errno.
 */
int mb_landlock_open(struct mb_landlock *ret, unsigned wishes);

/* Allows a path. Returns 0 or -errno. */
int mb_landlock_allow(const struct mb_landlock *l, const struct mb_sandbox_path *path);

/* Allows connections to a TCP port. Returns 0 or -errno. */
int mb_landlock_allow_port(const struct mb_landlock *l, uint16_t port);

/* Enters the ruleset, for which the process must have no_new_privs. Returns 0 or -errno. */
int mb_landlock_enter(const struct mb_landlock *l);

void mb_landlock_close(struct mb_landlock *l);

#endif
