/* The command line: one table of options, from which parsing and --help are made. */
#ifndef MB_OPTIONS_H
#define MB_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct mb_options {
  bool help, version, check;
  const char *handlers; /* directory of handler scripts */
  const char *record;   /* file to write the connection's input to, or NULL */
  int listener;         /* number of the listener to take, from 1; 0: the one that matches */
  double timeout;       /* seconds the process may run; 0: no limit */
  size_t memory_limit;  /* bytes the Lua state may hold; 0: no limit */
  int log_level;        /* LOG_ERR … LOG_DEBUG */
  const char *script;   /* or NULL */
  char **args;          /* what follows the script */
  int nargs;
};

#define MB_OPTIONS_ERROR_MAX 256

/*
 * Reads the command line.
 * ret_error  what is wrong, for one line of a message, when it returns false
 */
bool mb_options_parse(int argc, char **argv, struct mb_options *ret,
                      char ret_error[MB_OPTIONS_ERROR_MAX]);

/* Writes the text of --help. */
void mb_options_help(FILE *to);

#endif
