/* Passes on which calls a sandbox has refused. */
#include "base/refused.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/addr.h"

void (*mb_refused_note)(enum mb_refused_what what, const char *name, unsigned port) = NULL;

void mb_refused(int error, enum mb_refused_what what, const char *name, unsigned port) {
  if (mb_refused_note && (error == EPERM || error == EACCES)) mb_refused_note(what, name, port);
}

void mb_refused_address(int error, const struct addrinfo *address) {
  struct mb_addr addr = {.len = address->ai_addrlen};
  memcpy(&addr.any, address->ai_addr, address->ai_addrlen);
  mb_refused(error, MB_REFUSED_TCP, NULL, (unsigned)mb_addr_port(&addr));
}
