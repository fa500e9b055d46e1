/* Exit statuses, as sysexits.h numbers them. When a client misbehaves or goes away, the status is 0. */
#ifndef MB_EXITS_H
#define MB_EXITS_H

enum mb_exit {
  MB_EXIT_OK = 0,
  MB_EXIT_USAGE = 64,     /* the command line is wrong */
  MB_EXIT_NO_SCRIPT = 66, /* no script, or it cannot be read */
  MB_EXIT_HANDLER = 70,   /* a handler raised an error, or memory ran out */
  MB_EXIT_SYSTEM = 71,    /* the system refused something we need */
  MB_EXIT_CONFIG =
      78, /* the script does not load, no listen{} matches, or we cannot serve the socket */
};

#endif
