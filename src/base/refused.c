/* Passes on which calls a sandbox has refused. */
#include "base/refused.h"

#include <errno.h>
#include <stddef.h>

void (*mb_refused_note)(enum mb_refused_what what, const char *name, unsigned port) = NULL;

void mb_refused(int error, enum mb_refused_what what, const char *name, unsigned port) {
  if (mb_refused_note && (error == EPERM || error == EACCES)) mb_refused_note(what, name, port);
}
