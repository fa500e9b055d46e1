/* Logs what a sandbox has refused, with the wish that would allow it. */
#ifndef MB_SANDBOX_NOTES_H
#define MB_SANDBOX_NOTES_H

#include <stdbool.h>

#include "base/refused.h"
#include "sandbox/sandbox.h"

/*
 * From here on, what mb_refused is told is logged, each path, port or program once. The process has locked itself.
 * sandbox  its wishes, which must stay until mb_sandbox_notes_close
 */
void mb_sandbox_notes_open(const struct mb_sandbox *sandbox);

/* Logs nothing any more. */
void mb_sandbox_notes_close(void);

/*
 * Returns whether the wishes allow it: then not the sandbox refuses it, but the file's own permissions.
 * what  MB_REFUSED_READ, MB_REFUSED_WRITE or MB_REFUSED_EXEC
 */
bool mb_sandbox_notes_is_wished(enum mb_refused_what what, const char *path);

#endif
