/*
 * Where a process has locked itself, code that makes a system call says here that it was refused, so that the log can
 * name what would allow it. Nothing is called where nothing is locked.
 */
#ifndef MB_REFUSED_H
#define MB_REFUSED_H

#include <netdb.h>

enum mb_refused_what {
  MB_REFUSED_READ,   /* name: the path */
  MB_REFUSED_WRITE,  /* name: the path */
  MB_REFUSED_EXEC,   /* name: the program */
  MB_REFUSED_UNIX,   /* name: the path of the socket */
  MB_REFUSED_TCP,    /* port */
  MB_REFUSED_NAMES,  /* name: that was to be looked up */
  MB_REFUSED_SOCKET, /* of another kind than streams of TCP */
  MB_REFUSED_LISTEN, /* nothing */
  MB_REFUSED_MODULE  /* name: the path of a Lua module */
};

/* Set by who knows the sandbox; NULL: nothing is locked. */
extern void (*mb_refused_note)(enum mb_refused_what what, const char *name, unsigned port);

/*
 * Tells of a call that has failed.
 * error  its errno; only EPERM and EACCES are refusals
 */
void mb_refused(int error, enum mb_refused_what what, const char *name, unsigned port);

/* Does the same for a connection to an IP address. */
void mb_refused_address(int error, const struct addrinfo *address);
#endif
